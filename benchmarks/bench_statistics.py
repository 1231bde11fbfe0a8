"""How long intervals take: a mean with 10,000 bootstrap draws, over sizes.

python benchmarks/bench_statistics.py --record
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from record import write_result
from tunesmith.eval.stats import summarise

SIZES = (50, 200, 1000)
TURNS = 5


def main() -> None:
    """Print the best of several turns for each size, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the dated result")
    asked = parser.parse_args()
    random, rows = np.random.default_rng(0), []
    for size in SIZES:
        values, groups = random.normal(size=size).tolist(), [str(i) for i in range(size)]
        summarise(values, groups, seed=0)  # the first call pays for importing scipy
        took = []
        for seed in range(1, TURNS + 1):
            begin = time.perf_counter()
            summarise(values, groups, seed=seed)
            took.append(time.perf_counter() - begin)
        rows.append({"items": size, "seconds": f"{min(took):.4f}", "all": [round(t, 4) for t in took]})
        print(rows[-1])
    if asked.record:
        write_result("statistics", {"draws": 10_000, "turns": TURNS}, rows)


if __name__ == "__main__":
    main()
