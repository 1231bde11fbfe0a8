"""What an allowance for skewness must cost: the best rule that any limits on t and skewness can give, beside the rule in use.

python benchmarks/skewness_frontier.py --record

A rule says SHIP in some cells of (t, skewness), among test sets with p ≤ 0.05 in the sign-flip test. Linear programming finds
the cells with the greatest power for normal differences, at the effect that a t test finds in 80 %, such that at most 2.5 % of
the test sets without a gain ship, for every shape of difference. No rule made from mean, spread and skewness can do better, up
to the width of the cells. All in percent.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.special import stdtrit

from record import write_result
from simulated import Design, document_means
from tunesmith.eval.document_means import interval_arms, p_values, sign_flip, skewness
from tunesmith.eval.power import t_test_effect

SETS, PART, DRAWS = 40_000, 4000, 1000
NULLS = {
    "normal": Design(shape="normal", documents=0, correlation=1.0),
    "left exponential": Design(shape="left exponential", documents=0, correlation=1.0),
    "left lognormal, five items": Design(shape="left lognormal", documents=0),
    "left lognormal": Design(shape="left lognormal", documents=0, correlation=1.0),
}
T = [1.8, 2.0, 2.2, 2.4, 2.6, 2.8, 3, 3.3, 3.6, 4, 4.5, 5, 6, 7, 8, 10, 14, 20, 1e9]
SKEWNESS = [-99, -2.5, -2, -1.6, -1.3, -1.1, -0.9, -0.7, -0.5, -0.3, -0.15, 0, 0.2, 0.5, 1, 99]
Floats = NDArray[np.float64]


def simulated(design: Design, documents: int, effect: float) -> tuple[Floats, float, float]:
    """The share of sets with p ≤ 0.05 by sign flips in each cell, and the shares that t and that the rule ships."""
    cells, by_t, by_rule = np.zeros((len(T) - 1, len(SKEWNESS) - 1)), 0.0, 0.0
    of = replace(design, documents=documents)
    for part in range(SETS // PART):
        values = document_means(of, np.random.default_rng([part, documents]), PART) + effect
        middle = values.mean(0)
        t = middle / values.std(0, ddof=1) * np.sqrt(documents)
        flipped = sign_flip(values, draws=DRAWS, seed=part)[0] <= 0.05
        below, _ = interval_arms(values, level=0.95, draws=DRAWS, seed=part)
        cells += np.histogram2d(t[flipped], skewness(values)[flipped], [T, SKEWNESS])[0]
        by_t += float((flipped & (t > stdtrit(documents - 1, 0.975))).sum())
        by_rule += float(((p_values(values, 0.0, draws=DRAWS, seed=part) <= 0.05) & (middle > below)).sum())
    return cells / SETS, 100 * by_t / SETS, 100 * by_rule / SETS


def rows() -> Iterator[dict[str, Any]]:
    """Power and false SHIP of a t test with sign flips, of the rule in use and of the best rule, by number of documents."""
    for documents in (6, 10, 20, 50):
        power_cells, *power = simulated(NULLS["normal"], documents, t_test_effect(documents, 0.8, 0.95))
        found = {name: simulated(design, documents, 0.0) for name, design in NULLS.items()}
        limits = np.array([cells.ravel() for cells, *_ in found.values()])
        best = linprog(-power_cells.ravel(), A_ub=limits, b_ub=[0.025] * len(limits), bounds=(0, 1))
        for number, rule in enumerate(("t and sign flips", "the rule in use")):
            ship = {name: one[1 + number] for name, one in found.items()}
            yield {"documents": documents, "rule": rule, "power": power[number], **ship}
        best_ship = dict(zip(found, 100 * limits @ best.x, strict=True))
        yield {"documents": documents, "rule": "the best possible", "power": -100 * best.fun, **best_ship}


def main() -> None:
    """Print the rows as they come, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the dated result")
    asked = parser.parse_args()
    found = []
    for row in rows():
        print(row, flush=True)
        found.append({name: round(value, 1) if isinstance(value, float) else value for name, value in row.items()})
    if asked.record:
        write_result("skewness-frontier", {"test sets": SETS, "draws": DRAWS}, found)


if __name__ == "__main__":
    main()
