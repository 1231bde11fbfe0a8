"""Real processes and real signals: kill -9 at random moments, SIGTERM, Ctrl-C, and two runs in one folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.core.errors import TrainingError
from tunesmith.train.checkpoint import lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

ROOT = Path(__file__).parents[2]
TRIALS = int(os.environ.get("TUNESMITH_KILL_TRIALS", "12"))  # a release runs 300 of them
SOURCE = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])


def harness(*options: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, str(ROOT / "benchmarks" / "bench_kill.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": SOURCE})
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("trials", [3, pytest.param(TRIALS, marks=pytest.mark.nightly)])
def test_resume_after_sigkill_gives_the_same_adapter_optimiser_state_and_log(trials: int) -> None:
    code, found = harness("--trials", str(trials))
    assert (code, found["mismatches"], found["runs killed"]) == (0, 0, trials)


@pytest.mark.nightly
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_resume_that_forgets_the_moments_is_found_by_the_same_trials() -> None:
    code, found = harness("--trials", "4", "--fault", "moments")
    assert code == 1 and found["mismatches"]


_TRAIN = """
import sys
from pathlib import Path
from fakes import train_tiny
from tunesmith.cli.render import exit_code_of
from tunesmith.train import loop as module
inner = module._step
calls = 0
def step(*arguments, **named):
    global calls
    calls += 1
    if calls == 5:
        print("ready", flush=True)
        sys.stdin.readline()
    return inner(*arguments, **named)
module._step = step
try:
    train_tiny(Path(sys.argv[1]), Path(sys.argv[2]), train={"max_steps": 8, "evaluate_every": 0, "checkpoint_every": 100})
except Exception as error:
    sys.exit(exit_code_of(error, []))
"""


def training(base: Path, place: Path) -> subprocess.Popen[str]:
    """A process that trains, waiting in the middle of its fifth step for a line on its standard input."""
    command = [sys.executable, "-c", _TRAIN, str(base), str(place)]
    environment, pipe = {**os.environ, "PYTHONPATH": SOURCE}, subprocess.PIPE
    process = subprocess.Popen(command, text=True, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_process_writes_a_checkpoint_at_the_step_boundary_and_sets_the_exit_code(
    number: signal.Signals, code: int, tiny_path: Path, tmp_path: Path
) -> None:
    process = training(tiny_path, tmp_path)
    process.send_signal(number)
    _, said = process.communicate("go on\n")
    assert process.returncode == code
    assert "stopped at step 5, checkpoint written" in said and "the same command again to resume" in said
    assert (tmp_path / "work" / "checkpoints" / "step-00000005" / "manifest.json").is_file()


@pytest.mark.slow
def test_a_second_run_in_the_same_folder_is_refused_and_says_who_is_there(tiny_path: Path, tmp_path: Path) -> None:
    process = training(tiny_path, tmp_path)
    with pytest.raises(TrainingError, match=rf"\(process {process.pid}\) is training this very run"), lock(tmp_path / "work"):
        raise AssertionError("the folder was given to two")
    process.kill()
    process.communicate()
    with lock(tmp_path / "work"):
        pass  # the lock of a dead process is gone with it
