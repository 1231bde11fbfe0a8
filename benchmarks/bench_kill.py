"""kill -9 at random moments of a training run: does the run that goes on end with the same bytes as one left alone?

A fork server: torch is imported once, each trial is a forked child that trains a tiny model and is killed (SIGKILL) after a
random time, a few of them a second time while they resume. Then the run goes on to its end, and the SHA-256 of adapter,
optimiser state and metric log are compared with those of the run that nobody touched.

    python benchmarks/bench_kill.py --trials 300 --workers 2 --record
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from fakes import make_base, train_tiny  # noqa: E402
from tunesmith.train import results  # noqa: E402

STEPS = {"max_steps": 12, "evaluate_every": 6, "checkpoint_every": 2, "accumulate": 2}
COUNTED = ("runs killed", "kills", "ended before the kill", "mismatches")
COMPARED = (
    "out/adapter/adapter_model.safetensors",
    "work/checkpoints/step-00000012/optimizer.safetensors",
    "work/metrics.jsonl",
    "out/reading.json",
)


def hashes(place: Path) -> dict[str, str]:
    """SHA-256 of everything that the promise covers."""
    return {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in COMPARED}


def warm_up(base: Path, place: Path) -> None:
    """Train once in this process, so that all is imported and no trial spends its time on that. The picture of the curves,
    which takes longer than the training here and is not compared, is left out of all runs.
    """
    results.run_report = lambda *_, **__: ""
    train_tiny(base, place, train=STEPS)


def child(base: Path, place: Path, kill_after_s: float | None) -> bool:
    """Train in a forked process; whether it came to its end. A child that fails by itself ends the benchmark."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            trained = train_tiny(base, place, train=STEPS)
            (place / "resumed").write_text(str(trained.fitted.resumed_at))
            code = 0
        finally:
            os._exit(code)
    if kill_after_s is not None:
        signal.signal(signal.SIGALRM, lambda *_: kill(pid))
        signal.setitimer(signal.ITIMER_REAL, kill_after_s)
    status = os.waitpid(pid, 0)[1]
    signal.setitimer(signal.ITIMER_REAL, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit(f"a run failed by itself in {place}")
    return os.WIFEXITED(status)


def kill(pid: int) -> None:
    """SIGKILL, unless the child came to its end in this very moment."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def trials(count: int, base: Path, place: Path, seed: int) -> dict[str, Any]:
    """Kill `count` runs, let each go on, compare; a run that ended before its kill does not count."""
    draw = random.Random(seed)
    warm_up(base, place / "warm-up")
    begin = time.perf_counter()
    child(base, place / "left-alone", None)
    usual_s = time.perf_counter() - begin
    expected = hashes(place / "left-alone")
    killed = kills = early = 0
    mismatches: list[dict[str, Any]] = []
    resumed: collections.Counter[int] = collections.Counter()
    while killed < count:
        here = place / "trial"
        shutil.rmtree(here, ignore_errors=True)
        if child(base, here, max(0.01, draw.uniform(0.0, usual_s))):
            early += 1
            continue
        killed, kills = killed + 1, kills + 1
        while draw.random() < 0.25 and not child(base, here, max(0.01, draw.uniform(0.0, usual_s))):
            kills += 1
        if not (here / "resumed").exists():
            child(base, here, None)
        resumed[int((here / "resumed").read_text())] += 1
        found = hashes(here)
        if wrong := [name for name in COMPARED if found[name] != expected[name]]:
            mismatches.append({"trial": killed, "differs": wrong})
            shutil.copytree(here, place / f"mismatch-{killed}")
        if killed % 25 == 0:
            print(f"{killed} runs killed, {kills} kills, {len(mismatches)} mismatches", file=sys.stderr, flush=True)
    return {
        "runs killed": killed,
        "kills": kills,
        "ended before the kill": early,
        "mismatches": len(mismatches),
        "resumed at step": {str(step): resumed[step] for step in sorted(resumed)},
        "details": mismatches,
        "seconds left alone": usual_s,
    }


def merged(command: list[str], count: int, workers: int, seed: int) -> dict[str, Any]:
    """The trials shared out to processes with a seed each, and their sums."""
    shares = [count // workers + (i < count % workers) for i in range(workers)]
    running = [
        subprocess.Popen([*command, "--trials", str(share), "--seed", str(seed + i)], stdout=subprocess.PIPE, text=True)
        for i, share in enumerate(shares)
    ]
    parts = [json.loads(process.communicate()[0]) for process in running]
    found: dict[str, Any] = {name: sum(part[name] for part in parts) for name in COUNTED}
    resumed = sum((collections.Counter(part["resumed at step"]) for part in parts), collections.Counter())
    details = [detail for part in parts for detail in part["details"]]
    return found | {"resumed at step": {step: resumed[step] for step in sorted(resumed, key=int)}, "details": details}


def main() -> None:
    """Run the trials; JSON to stdout, and with `--record` a dated result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="processes that share the trials")
    parser.add_argument("--record", action="store_true", help="write a dated result file")
    parser.add_argument("--fault", choices=["none", "moments"], default="none", help="plant a fault that must be found")
    chosen = parser.parse_args()
    if chosen.fault == "moments":
        plant_fault()
    if chosen.workers > 1:
        found = merged([sys.executable, __file__, "--fault", chosen.fault], chosen.trials, chosen.workers, chosen.seed)
    else:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            found = trials(chosen.trials, make_base(place / "base"), place, chosen.seed)
    print(json.dumps(found))
    if chosen.record:
        from record import write_result

        row = {name: found[name] for name in COUNTED}
        work = {"model": "2 layers, 40 thousand weights", "steps": STEPS["max_steps"], "checkpoint every": "2 steps"}
        write_result("kill", work | {"resumed at step": found["resumed at step"]}, [row])
    raise SystemExit(1 if found["mismatches"] else 0)


def plant_fault() -> None:
    """The negative control: a run that goes on forgets the optimiser's moments, as many trainers do."""
    from tunesmith.train import loop

    loop.restore_optimizer = lambda *_: None


if __name__ == "__main__":
    main()
