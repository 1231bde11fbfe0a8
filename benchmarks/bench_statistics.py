"""Statistics: how long they take, and how often the intervals and the rule of the verdict are right on simulated test sets.

python benchmarks/bench_statistics.py speed --record
python benchmarks/bench_statistics.py coverage --sets 4000 --record

`speed`: ten metrics, five of them shares, each with its difference (10,000 bootstrap draws and as many sign flips).
`coverage`: nominal 95 % intervals, p and the rule of the `better` gate where the true gain is 0; the power of that rule at the
effect that it is said to detect with 80 %; intervals of one system's shares. In percent. What is simulated: `simulated.py`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from record import write_result
from simulated import Design, Sizes, item_coverage, rates, share_coverage, sizes_of
from tunesmith.eval.document_means import UNBOUNDED
from tunesmith.eval.power import detectable_effect
from tunesmith.eval.stats import paired

METRICS, DRAWS, TURNS = 10, 10_000, 5
DOCUMENTS = (6, 10, 20, 50, 200)
CORRELATIONS = (0.0, 0.3, 0.8)
SIZES: tuple[Sizes, ...] = ("equal", "lognormal")


def main() -> None:
    """Print the rows as they come, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "coverage"])
    parser.add_argument("--sets", type=int, default=4000, help="simulated test sets in each cell")
    parser.add_argument("--record", action="store_true", help="write the dated result")
    asked = parser.parse_args()
    rows, busy = [], os.getloadavg()[0]
    for row in speed() if asked.what == "speed" else coverage(asked.sets):
        print(row, flush=True)
        rows.append(row)
    if asked.record and asked.what == "speed":
        work = {"draws": DRAWS, "metrics": METRICS, "turns": TURNS, "other processes running": round(busy, 1)}
        write_result("statistics", work, rows)
    elif asked.record:
        write_result("coverage", {"level": 0.95, "draws": 1000, "sets in a cell": asked.sets}, rows)


def speed() -> Iterator[dict[str, Any]]:
    """The best of several turns, each with a new seed, so that nothing is left from the turn before."""
    random = np.random.default_rng(0)
    for documents, items in ((50, 50), (200, 1000), (1000, 1000)):
        groups = [str(i % documents) for i in range(items)]
        scores = random.random(size=(METRICS, 2, items)).tolist()
        took, worked = [], []
        for seed in range(TURNS + 1):
            begin, processor = time.perf_counter(), time.process_time()
            for number, (a, b) in enumerate(scores):
                paired(a, b, groups, draws=DRAWS, seed=seed, bounds=(0.0, 1.0) if number % 2 else UNBOUNDED)
            took.append(time.perf_counter() - begin)
            worked.append(time.process_time() - processor)
        kept = took[1:]  # the first turn pays for importing scipy
        best = {"seconds": round(min(kept), 3), "processor seconds": round(min(worked[1:]), 3)}
        yield {"documents": documents, "items": items, **best, "all": [round(t, 3) for t in kept]}


def coverage(sets: int) -> Iterator[dict[str, Any]]:
    """All cells of the table."""
    for design in designs():
        found = rates(design, sets=sets)
        yield _row("mean", design, coverage=found.coverage, rejected=found.rejected, ship=found.ship)
    for sizes, rho, documents in itertools.product(SIZES, CORRELATIONS, DOCUMENTS):
        design = Design(shape="normal", documents=documents, correlation=rho, sizes=sizes)
        yield _row("power", design, ship=power(design, sets))
    for rho, documents in itertools.product(CORRELATIONS, DOCUMENTS):
        design = Design(shape="normal", documents=documents, correlation=rho, sizes="lognormal")
        yield _row("mean of items", design, coverage=item_coverage(design, sets=sets // 4))
    for share, sizes, rho, documents in itertools.product((0.5, 0.8, 0.9, 0.98), SIZES, CORRELATIONS, DOCUMENTS):
        design = Design(shape=f"share {share}", documents=documents, correlation=rho, sizes=sizes)
        yield _row("share", design, coverage=share_coverage(share, design, sets=sets))


def designs() -> Iterator[Design]:
    """Every shape with sizes equal and not and three correlations; document means of the shape itself; effects tied to size."""
    shapes = ("normal", "t3", "lognormal", "left lognormal", "left exponential", "binary")
    for shape, sizes, rho, documents in itertools.product(shapes, SIZES, CORRELATIONS, DOCUMENTS):
        yield Design(shape=shape, documents=documents, correlation=rho, sizes=sizes)
    for shape, documents in itertools.product(("lognormal", "left lognormal", "left exponential"), DOCUMENTS):
        yield Design(shape=shape, documents=documents, correlation=1.0)
    for documents in DOCUMENTS:
        yield Design(shape="normal", documents=documents, correlation=0.3, sizes="lognormal", tied=True)


def power(design: Design, sets: int) -> float:
    """How often the rule finds the effect that it is said to detect in 80 %; over 20 draws of the sizes of documents."""
    shipped = []
    for number in range(20):
        of, _ = sizes_of(design, np.random.default_rng([number, design.documents]), 1)
        effect = detectable_effect(design.documents, sizes=of.tolist())
        assert effect is not None
        scale = float(np.sqrt((design.correlation + (1 - design.correlation) / of).mean()))
        shipped.append(rates(design, sets=sets // 20, seed=100 + number, effect=effect * scale, given_sizes=of).ship)
    return float(np.mean(shipped))


def _row(what: str, design: Design, **figures: float) -> dict[str, Any]:
    shape = f"{design.shape}, tied to size" if design.tied else design.shape
    row = {
        "what": what,
        "shape": shape,
        "sizes": design.sizes,
        "correlation": design.correlation,
        "documents": design.documents,
    }
    return row | {name: round(figures[name], 2) if name in figures else "" for name in ("coverage", "rejected", "ship")}


if __name__ == "__main__":
    main()
