"""All checks over made rows of blog length, and over files of the shared material, on one core.

Usage: python benchmarks/bench_check.py [rows] [FILE ...]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))

from checks_clean import clean_rows

from record import write_result
from tunesmith.core.records import Example
from tunesmith.data.checks.rows import rows_from_examples
from tunesmith.data.checks.run import CHECKS, check_examples
from tunesmith.data.checks.summary import summarize
from tunesmith.data.dataset.load import load_examples

ROUNDS = 3


def main() -> None:
    """Time the checks, three rounds a set, and write the result file; then the ten slowest checks to stdout."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    sets: dict[str, list[Example]] = {f"made rows ({count:,})": clean_rows(count, seed=9)}
    for name in sys.argv[2:]:
        sets[Path(name).name] = list(load_examples(Path(name)).examples)
    check_examples(next(iter(sets.values()))[:200])
    results = []
    for name, examples in sets.items():
        characters = sum(len(message.content) for example in examples for message in example.messages)
        times = []
        for _ in range(ROUNDS):
            begin = time.process_time()
            check_examples(examples)
            times.append(time.process_time() - begin)
        begin = time.process_time()
        summarize(rows_from_examples(examples))
        results.append(
            {
                "set": name,
                "rows": len(examples),
                "characters_a_row": characters / len(examples),
                "best_s": min(times),
                "runs_s": times,
                "examples_per_s": len(examples) / min(times),
                "summary_s": time.process_time() - begin,
            }
        )
    write_result("check", {"rounds": ROUNDS, "time": "process time, one process"}, results)
    _slowest(next(iter(sets.values())))


def _slowest(examples: list[Example]) -> None:
    begin = time.process_time()
    rows = rows_from_examples(examples)
    spent = {"rows_from_examples": time.process_time() - begin}
    for check in CHECKS:
        begin = time.process_time()
        list(check(rows))
        spent[check.__name__] = time.process_time() - begin
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1])[:10]:
        print(f"{seconds:7.3f} s  {name}")


if __name__ == "__main__":
    main()
