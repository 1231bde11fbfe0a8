"""Killed at any point and started again, a run ends with the same adapter and the same log as one that was left alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakes import train_tiny
from tunesmith.core.errors import Interrupted, TrainingError
from tunesmith.train import checkpoint as checkpoint_module
from tunesmith.train import run as run_module
from tunesmith.train.checkpoint import Checkpoints, MetricLog, State, restore_optimizer
from tunesmith.train.objectives.sft import sft

STEPS = {"max_steps": 8, "evaluate_every": 2, "checkpoint_every": 3}


class Kill(BaseException):
    """As good as SIGKILL for everything that happens in this process."""


def result(place: Path) -> tuple[str, str]:
    """Hashes of adapter and metric log."""
    out = place / "out"
    names = ("adapter/adapter_model.safetensors", "metrics.jsonl")
    adapter, log = (hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names)
    return adapter, log


@pytest.fixture(scope="module")
def undisturbed(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    place = tmp_path_factory.mktemp("undisturbed")
    train_tiny(tiny_path, place, train=STEPS)
    return result(place)


def killing(at_call: int, act: Callable[[], None]) -> Callable[..., torch.Tensor]:
    """The objective, which also validates; before call number `at_call` something happens."""
    calls = 0

    def objective(model: Any, batch: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == at_call:
            act()
        return sft(model, batch)

    return objective


def die() -> None:
    raise Kill


@pytest.mark.parametrize("at_call", [1, 2, 4, 6, 8, 10, 13])
def test_a_run_killed_in_any_step_or_look_ends_like_an_undisturbed_one(
    at_call: int, tiny_path: Path, tmp_path: Path, undisturbed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Kill):
        patch.setattr(run_module, "sft", killing(at_call, die))
        train_tiny(tiny_path, tmp_path, train=STEPS)
    assert not (tmp_path / "out").exists()
    train_tiny(tiny_path, tmp_path, train=STEPS)
    assert result(tmp_path) == undisturbed


@pytest.mark.parametrize("at_call", [1, 2, 3])
@pytest.mark.parametrize("name", ["commit", "save_file"])
def test_a_run_killed_while_it_writes_a_checkpoint_ends_like_an_undisturbed_one(
    name: str, at_call: int, tiny_path: Path, tmp_path: Path, undisturbed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = getattr(checkpoint_module, name), 0

    def fail(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at_call:
            raise Kill
        return original(*arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(Kill):
        patch.setattr(checkpoint_module, name, fail)
        train_tiny(tiny_path, tmp_path, train=STEPS)
    train_tiny(tiny_path, tmp_path, train=STEPS)
    assert result(tmp_path) == undisturbed


def test_a_resumed_run_with_another_order_of_data_would_be_noticed(
    tiny_path: Path, tmp_path: Path, undisturbed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Kill):
        patch.setattr(run_module, "sft", killing(10, die))
        train_tiny(tiny_path, tmp_path, train=STEPS)
    train_tiny(tiny_path, tmp_path, train={**STEPS, "seed": 8})
    assert result(tmp_path) != undisturbed


def test_resuming_takes_up_at_the_last_checkpoint_and_not_at_the_start(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Kill):
        patch.setattr(run_module, "sft", killing(12, die))
        train_tiny(tiny_path, tmp_path, train=STEPS)
    assert train_tiny(tiny_path, tmp_path, train=STEPS).fitted.resumed_at == 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_at_the_step_boundary_with_a_checkpoint(
    number: signal.Signals, tiny_path: Path, tmp_path: Path, undisturbed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(number)
    with monkeypatch.context() as patch, pytest.raises(Interrupted) as caught:
        patch.setattr(run_module, "sft", killing(7, lambda: os.kill(os.getpid(), number)))
        train_tiny(tiny_path, tmp_path, train=STEPS)
    assert caught.value.exit_code == 128 + number and 0 < caught.value.step < 8
    assert (tmp_path / "work" / "checkpoints" / f"step-{caught.value.step:08d}").is_dir()
    assert signal.getsignal(number) is before
    assert train_tiny(tiny_path, tmp_path, train=STEPS).fitted.resumed_at == caught.value.step
    assert result(tmp_path) == undisturbed


def stopped(tiny_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The checkpoints of a run that was killed after its sixth step, oldest first."""
    with monkeypatch.context() as patch, pytest.raises(Kill):
        patch.setattr(run_module, "sft", killing(12, die))
        train_tiny(tiny_path, place, train=STEPS)
    found = sorted((place / "work" / "checkpoints").glob("step-*"))
    assert [p.name for p in found] == ["step-00000003", "step-00000006"]
    return found


DAMAGE = [
    ("trained.safetensors", "flip"),
    ("best.safetensors", "cut"),
    ("optimizer.safetensors", "flip"),
    ("state.json", "cut"),
]


@pytest.mark.parametrize(("file", "damage"), [*DAMAGE, ("manifest.json", "cut"), ("trained.safetensors", "gone")])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    file: str, damage: str, tiny_path: Path, tmp_path: Path, undisturbed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = stopped(tiny_path, tmp_path, monkeypatch)[-1] / file
    data = victim.read_bytes()
    if damage == "gone":
        victim.unlink()
    else:
        half = len(data) // 2
        victim.write_bytes(data[:half] if damage == "cut" else data[:half] + bytes([data[half] ^ 8]) + data[half + 1 :])
    assert train_tiny(tiny_path, tmp_path, train=STEPS).fitted.resumed_at == 3
    assert result(tmp_path) == undisturbed


def test_with_no_checkpoint_left_the_run_begins_anew_and_ends_the_same(
    tiny_path: Path, tmp_path: Path, undisturbed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in stopped(tiny_path, tmp_path, monkeypatch):
        shutil.rmtree(folder)
    assert train_tiny(tiny_path, tmp_path, train=STEPS).fitted.resumed_at == 0
    assert result(tmp_path) == undisturbed


def test_a_checkpoint_of_another_run_is_not_taken(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(tiny_path, tmp_path, monkeypatch)
    assert train_tiny(tiny_path, tmp_path, train=STEPS, run_id="another").fitted.resumed_at == 0


def test_a_checkpoint_with_other_tensors_is_an_error(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(tiny_path, tmp_path, monkeypatch)
    with pytest.raises(TrainingError, match="other tensors"):
        train_tiny(tiny_path, tmp_path, train=STEPS, method={"targets": "attention"})


def test_a_lost_metric_log_is_an_error_and_not_a_log_full_of_zeros(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(tiny_path, tmp_path, monkeypatch)
    (tmp_path / "work" / "metrics.jsonl").unlink()
    with pytest.raises(TrainingError, match="metric log"):
        train_tiny(tiny_path, tmp_path, train=STEPS)


def test_optimiser_state_of_a_tensor_that_is_not_trained_is_an_error() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(TrainingError, match="does not fit"):
        restore_optimizer(torch.optim.AdamW([weight]), {weight: "w"}, {"other/step": torch.tensor(1.0)})


def test_at_most_two_checkpoints_stay_and_they_hold_no_pickle(tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path, train={**STEPS, "checkpoint_every": 1})
    found = sorted((tmp_path / "work" / "checkpoints").iterdir())
    assert [p.name for p in found] == ["step-00000007", "step-00000008"]
    names = {p.suffix for p in (tmp_path / "work").rglob("*") if p.is_file() and p.name != "lock"}
    assert names == {".safetensors", ".json", ".jsonl"}
    assert len(load_file(found[-1] / "optimizer.safetensors")) == 3 * len(load_file(found[-1] / "trained.safetensors"))


def test_a_checkpoint_before_the_first_look_remembers_that_there_is_no_best_yet(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "r")
    checkpoints.save(State(step=1), trained={"w": torch.ones(2)}, best={"w": torch.zeros(2)}, optimizer={})
    found = checkpoints.newest()
    assert found is not None and found[0].best_loss == float("inf") and found[0].step == 1
    assert torch.equal(found[1]["w"], torch.ones(2)) and torch.equal(found[2]["w"], torch.zeros(2))


def test_the_metric_log_is_cut_back_to_where_the_checkpoint_left_it(tmp_path: Path) -> None:
    log = MetricLog(tmp_path / "m.jsonl", 0)
    log.write({"step": 1})
    kept = log.sync()
    log.write({"step": 2})
    log.close()
    again = MetricLog(tmp_path / "m.jsonl", kept)
    again.write({"step": 2, "again": True})
    again.close()
    assert (tmp_path / "m.jsonl").read_bytes() == b'{"step":1}\n{"step":2,"again":true}\n'


def test_a_full_disk_while_saving_leaves_the_checkpoint_before_and_the_run_goes_on_later(
    tiny_path: Path, tmp_path: Path, undisturbed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.core.errors import StorageError

    calls = 0

    def full(*arguments: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise RuntimeError("I/O error: No space left on device (os error 28)")
        save_file(*arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="the disk is full while writing a checkpoint"):
        patch.setattr(checkpoint_module, "save_file", full)
        train_tiny(tiny_path, tmp_path, train=STEPS)
    assert [p.name for p in (tmp_path / "work" / "checkpoints").iterdir()] == ["step-00000003"]
    train_tiny(tiny_path, tmp_path, train=STEPS)
    assert result(tmp_path) == undisturbed


_FORK_SERVER = """
import os, random, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fakes import train_tiny
base, place, wanted = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
steps = {"max_steps": 40, "evaluate_every": 7, "checkpoint_every": 2}
train_tiny(base, place / "left-alone", train=steps)
random.seed(20)
kills = trials = 0
while kills < wanted:
    trials += 1
    while True:
        child = os.fork()
        if child == 0:
            train_tiny(base, place / f"killed-{trials}", train=steps)
            os._exit(0)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.05, 0.9))
        status = os.waitpid(child, 0)[1]
        signal.setitimer(signal.ITIMER_REAL, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        kills += 1
print(kills, trials)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_resume_after_sigkill_gives_the_same_adapter_and_log(tiny_path: Path, tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", _FORK_SERVER, tests, str(tiny_path), str(tmp_path), "6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    kills, trials = map(int, done.stdout.split())
    expected = result(tmp_path / "left-alone")
    assert kills >= 6 and all(result(tmp_path / f"killed-{n}") == expected for n in range(1, trials + 1))
