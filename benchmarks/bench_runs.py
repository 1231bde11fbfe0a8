"""`tunesmith runs` over many runs with an evaluation each: as a command, from start to end, and without its index.

Usage: python benchmarks/bench_runs.py [runs]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ops"))

from many_runs import add_runs

from record import write_result
from tunesmith.ops.runs.index import INDEX

ROUNDS = 5
WAYS = {
    "first time, no index": [],
    "table": [],
    "table, sorted and filtered": ["--sort", "loss", "--filter", "rank>=8 and verdict=SHIP"],
    "JSON": ["--json"],
}


def main() -> None:
    """Time each way, five rounds, and write the result file."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        add_runs(Path(folder), count)
        rows = [_timed(name, words, Path(folder)) for name, words in WAYS.items()]
    load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    work = {"runs": count, "evaluations": count, "rounds": ROUNDS, "time": "a whole process", "load of the machine": load}
    write_result("runs", work, rows)


def _timed(name: str, words: list[str], project: Path) -> dict[str, object]:
    walls, processor = [], []
    for _ in range(ROUNDS):
        if "no index" in name:
            (project / ".tunesmith" / INDEX).unlink(missing_ok=True)
        command = [sys.executable, "-m", "tunesmith.cli", "runs", "--project", str(project), *words]
        begin, before = time.perf_counter(), _children()
        done = subprocess.run(command, capture_output=True, check=True)
        walls.append(time.perf_counter() - begin)
        processor.append(_children() - before)
        assert done.stdout
    return {"way": name, "best_s": min(walls), "runs_s": walls, "processor_s": min(processor)}


def _children() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
