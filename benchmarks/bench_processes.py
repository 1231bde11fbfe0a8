"""Two processes over gloo beside one: are the losses the same, and what does it cost.

A few steps of LoRA on the sample posts, float32, dropout 0. Each count of processes runs in processes of its own, one after the
other. On one machine two processes share its cores and send every layer to each other, so this measures the cost, not a gain.

    python benchmarks/bench_processes.py --base smollm2 --record
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from record import write_result
from tunesmith.api.selftesting import example_rows
from tunesmith.core.reporter import SilentReporter
from tunesmith.models.chat import open_chat
from tunesmith.models.load import find_base
from tunesmith.pipeline.sections.run import MethodConfig, TrainConfig
from tunesmith.train import loop
from tunesmith.train.method import DEFAULT, open_method
from tunesmith.train.run import Place, train_adapter
from tunesmith.train.taking_part import take_part
from tunesmith.train.together import joined


def inside(base: str, steps: int, batch: int, out: Path) -> None:
    """One process of a run; process 0 writes what it found."""
    with joined() as processes:
        if processes.rank:
            take_part(processes)
        else:
            out.with_suffix(".json").write_text(json.dumps(measured(base, steps, batch, out)))


def measured(base: str, steps: int, batch: int, out: Path) -> dict[str, Any]:
    """Losses and seconds of the steps, and the peak memory of this process."""
    seconds, step = [], loop._fitting_step

    def timed(*given: Any, **how: Any) -> Any:
        begin = time.perf_counter()
        made = step(*given, **how)
        seconds.append(time.perf_counter() - begin)
        return made

    loop._fitting_step = timed  # type: ignore[assignment]
    folder, rows = find_base(base), example_rows()
    settings = {"max_steps": steps, "batch_examples": batch, "evaluate_every": 0, "precision": "float32", "compile": False}
    train_adapter(
        folder,
        open_chat(folder),
        {"train": rows[2:], "val": rows[:2]},
        objective=open_method(DEFAULT),
        method=MethodConfig(rank=16, alpha=32.0, dropout=0.0),
        train=TrainConfig.model_validate(settings),
        precision="float32",
        place=Place("bench", out / "work", out / "out"),
        reporter=SilentReporter(),
    )
    logged = [orjson.loads(line) for line in (out / "work" / "metrics.jsonl").read_bytes().splitlines()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"losses": [row["loss"] for row in logged if "loss" in row], "seconds": seconds, "peak": peak}


def made_by(count: int, chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The run in so many processes."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    command = [sys.executable, __file__, "--base", chosen.base, "--steps", str(chosen.steps), "--batch", str(chosen.batch)]
    command += ["--inside", str(folder / f"of {count}")]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    begun = [subprocess.Popen(command, env={**os.environ, **shared, **rank}) for rank in ranks]
    if codes := [process.returncode for process in begun if process.wait()]:
        raise SystemExit(f"{count} processes ended with {codes}")
    result: dict[str, Any] = json.loads((folder / f"of {count}.json").read_text())
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--busy", action="store_true", help="say that the machine does other work beside")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--inside", type=Path)
    chosen = parser.parse_args()
    if chosen.inside:
        inside(chosen.base, chosen.steps, chosen.batch, chosen.inside)
        return
    with tempfile.TemporaryDirectory() as folder:
        one, two = (made_by(count, chosen, Path(folder)) for count in (1, 2))
    off = [abs(a - b) / abs(a) for a, b in zip(one["losses"], two["losses"], strict=True)]
    rows = [
        {
            "processes": count,
            "first loss": f"{found['losses'][0]:.7f}",
            "last loss": f"{found['losses'][-1]:.7f}",
            "largest difference of a loss": 0.0 if count == 1 else max(off),
            "median seconds a step": statistics.median(found["seconds"][1:]),
            "peak GiB of process 0": found["peak"],
            "losses": found["losses"],
        }
        for count, found in ((1, one), (2, two))
    ]
    work = {"base": chosen.base, "steps": chosen.steps, "batch": chosen.batch, "threads a process": 1}
    work |= {"other work beside": "yes, so times are rough"} if chosen.busy else {}
    if chosen.record:
        write_result("processes", work, rows)
    else:
        print(*rows, sep="\n")


if __name__ == "__main__":
    main()
