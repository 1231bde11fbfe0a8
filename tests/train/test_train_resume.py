"""Killed at any point and started again, a run ends with the same adapter and the same log as one that was left alone."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from safetensors.torch import load_file

from fakes import Told, examples, make_base, train_tiny
from tunesmith.core.errors import Interrupted, TrainingError
from tunesmith.core.files import commit
from tunesmith.train import checkpoint as checkpoint_module
from tunesmith.train import loop as loop_module
from tunesmith.train import run as run_module
from tunesmith.train.checkpoint import Checkpoints, MetricLog, SaveRule, State
from tunesmith.train.methods import sft as sft_module
from tunesmith.train.randomness import random_state, restore_random_state, seed_all

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


def interrupt(patch: pytest.MonkeyPatch, at_call: int, act: Callable[[], None]) -> None:
    """Before step or validation number `at_call`, counted together in the order they come, something happens."""
    calls = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at_call:
                act()
            return original(*arguments, **named)

        return call

    patch.setattr(loop_module, "_step", counted(loop_module._step))
    patch.setattr(sft_module.Method, "validate", counted(sft_module.Method.validate))


def die() -> None:
    raise Kill


@pytest.mark.parametrize("at_call", [1, 2, 4, 6, 8, 10, 13])
def test_a_run_killed_in_any_step_or_validation_ends_like_an_undisturbed_one(
    at_call: int, tiny_path: Path, tmp_path: Path, undisturbed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Kill):
        interrupt(patch, at_call, die)
        train_tiny(tiny_path, tmp_path, train=STEPS)
    assert not (tmp_path / "out").exists()
    train_tiny(tiny_path, tmp_path, train=STEPS)
    assert result(tmp_path) == undisturbed


@pytest.mark.parametrize("at_call", [1, 2, 3])
@pytest.mark.parametrize("name", ["commit", "pieces"])
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
        interrupt(patch, 10, die)
        train_tiny(tiny_path, tmp_path, train=STEPS)
    monkeypatch.setattr(run_module, "made_for", lambda *_: recorded_facts(tmp_path))
    train_tiny(tiny_path, tmp_path, train={**STEPS, "seed": 8})
    assert result(tmp_path) != undisturbed


def recorded_facts(place: Path) -> dict[str, str]:
    """What the newest checkpoint says it was made for."""
    newest = sorted((place / "work" / "checkpoints").glob("step-*"))[-1]
    facts: dict[str, str] = orjson.loads((newest / "manifest.json").read_bytes())["made_for"]
    return facts


def test_resuming_takes_up_at_the_last_checkpoint_and_not_at_the_start(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Kill):
        interrupt(patch, 12, die)
        train_tiny(tiny_path, tmp_path, train=STEPS)
    assert train_tiny(tiny_path, tmp_path, train=STEPS).fitted.resumed_at == 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_at_the_step_boundary_with_a_checkpoint(
    number: signal.Signals, tiny_path: Path, tmp_path: Path, undisturbed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(number)
    with monkeypatch.context() as patch, pytest.raises(Interrupted) as caught:
        interrupt(patch, 7, lambda: os.kill(os.getpid(), number))
        train_tiny(tiny_path, tmp_path, train=STEPS)
    assert caught.value.exit_code == 128 + number and 0 < caught.value.step < 8
    assert (tmp_path / "work" / "checkpoints" / f"step-{caught.value.step:08d}").is_dir()
    assert signal.getsignal(number) is before
    assert train_tiny(tiny_path, tmp_path, train=STEPS).fitted.resumed_at == caught.value.step
    assert result(tmp_path) == undisturbed


@pytest.fixture(scope="module")
def killed_run(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed after its sixth step. Not to be written to: `stopped` copies it."""
    place = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Kill):
        interrupt(patch, 12, die)
        train_tiny(tiny_path, place, train=STEPS)
    return place


@pytest.fixture
def stopped(killed_run: Path, tmp_path: Path) -> list[Path]:
    """The checkpoints of a run in `tmp_path` that was killed after its sixth step, oldest first."""
    shutil.copytree(killed_run, tmp_path, dirs_exist_ok=True)
    found = sorted((tmp_path / "work" / "checkpoints").glob("step-*"))
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
    file: str, damage: str, tiny_path: Path, stopped: list[Path], tmp_path: Path, undisturbed: tuple[str, str]
) -> None:
    victim = stopped[-1] / file
    data = victim.read_bytes()
    if damage == "gone":
        victim.unlink()
    else:
        half = len(data) // 2
        victim.write_bytes(data[:half] if damage == "cut" else data[:half] + bytes([data[half] ^ 8]) + data[half + 1 :])
    said = Told()
    assert train_tiny(tiny_path, tmp_path, train=STEPS, reporter=said).fitted.resumed_at == 3
    assert result(tmp_path) == undisturbed
    assert len(said.warnings) == 1 and "step-00000006 is damaged" in said.warnings[0]


def test_with_no_checkpoint_left_the_run_begins_anew_and_ends_the_same(
    tiny_path: Path, stopped: list[Path], tmp_path: Path, undisturbed: tuple[str, str]
) -> None:
    for folder in stopped:
        shutil.rmtree(folder)
    assert train_tiny(tiny_path, tmp_path, train=STEPS).fitted.resumed_at == 0
    assert result(tmp_path) == undisturbed


def test_when_every_checkpoint_is_damaged_it_is_an_error_and_not_a_silent_start_from_zero(
    tiny_path: Path, stopped: list[Path], tmp_path: Path
) -> None:
    for folder in stopped:
        (folder / "best.safetensors").write_bytes(b"torn")
    with pytest.raises(TrainingError, match=r"no checkpoint of this run can be used: best\.safetensors is not as it was"):
        train_tiny(tiny_path, tmp_path, train=STEPS)


def test_a_checkpoint_of_another_run_is_refused(tiny_path: Path, stopped: list[Path], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="made with another run"):
        train_tiny(tiny_path, tmp_path, train=STEPS, run_id="another")


OTHERS: dict[str, dict[str, Any]] = {
    "another method": {"method": {"targets": "attention"}},
    "another training data": {"rows": examples(24)},
    "another training settings": {"train": {**STEPS, "learning_rate": 0.02}},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_another_recipe_is_refused_by_name(
    name: str, tiny_path: Path, stopped: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=f"the checkpoints here were made with {name}\\b"):
        train_tiny(tiny_path, tmp_path, **{"train": STEPS, **OTHERS[name]})
    assert len(list((tmp_path / "work" / "checkpoints").glob("step-*"))) == 2


def test_a_checkpoint_of_another_base_is_refused_by_name(tiny_path: Path, stopped: list[Path], tmp_path: Path) -> None:
    other = make_base(tmp_path / "other-base", seed=8)
    with pytest.raises(TrainingError, match="made with another base"):
        train_tiny(other, tmp_path, train=STEPS)


def test_a_checkpoint_with_other_tensors_is_an_error(
    tiny_path: Path, stopped: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "made_for", lambda *_: recorded_facts(tmp_path))
    with pytest.raises(TrainingError, match="other tensors"):
        train_tiny(tiny_path, tmp_path, train=STEPS, method={"targets": "attention"})


def test_a_lost_metric_log_is_an_error_and_not_a_log_full_of_zeros(
    tiny_path: Path, stopped: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "work" / "metrics.jsonl").unlink()
    with pytest.raises(TrainingError, match="the metric log is gone"):
        train_tiny(tiny_path, tmp_path, train=STEPS)


def test_resuming_under_other_conditions_says_that_equal_bytes_cannot_be_promised(
    tiny_path: Path, stopped: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = checkpoint_module.machine_facts()
    monkeypatch.setattr(checkpoint_module, "machine_facts", lambda: {**here, "threads": "64", "torch": "1.0"})
    said = Told()
    assert train_tiny(tiny_path, tmp_path, train=STEPS, reporter=said).fitted.resumed_at == 6
    assert len(said.warnings) == 1 and "cannot promise" in said.warnings[0]
    assert "threads was 1 and is 64" in said.warnings[0] and "and is 1.0" in said.warnings[0]


def test_resuming_under_the_same_conditions_says_nothing(tiny_path: Path, stopped: list[Path], tmp_path: Path) -> None:
    said = Told()
    train_tiny(tiny_path, tmp_path, train=STEPS, reporter=said)
    assert not said.warnings


@pytest.mark.parametrize("minutes_a_look", [0.4, 1.1])
def test_checkpoints_by_the_clock_come_at_other_steps_and_change_nothing_that_is_learned(
    minutes_a_look: float, tiny_path: Path, tmp_path: Path, undisturbed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0, 60 * minutes_a_look)
    settings = {**STEPS, "checkpoint_every": 1000, "checkpoint_minutes": 1.0}
    monkeypatch.setattr(loop_module, "SaveRule", lambda **named: SaveRule(**named, clock=lambda: next(clock)))
    with monkeypatch.context() as patch, pytest.raises(Kill):
        interrupt(patch, 9, die)
        train_tiny(tiny_path, tmp_path, train=settings)
    assert 0 < train_tiny(tiny_path, tmp_path, train=settings).fitted.resumed_at < 8
    assert result(tmp_path) == undisturbed


def test_a_save_is_due_by_steps_or_by_minutes_and_not_twice_at_one_step() -> None:
    now = 0.0
    rule = SaveRule(steps=5, minutes=1.0, begun_at=5, clock=lambda: now)
    assert not rule.due(5) and rule.due(10) and not rule.due(10) and not rule.due(11)
    now = 61.0
    assert rule.due(12) and not rule.due(13)
    assert not SaveRule(steps=5, minutes=0.0, begun_at=0, clock=lambda: next(iter([1e9]))).due(3)


def test_more_checkpoints_stay_when_the_recipe_says_so(tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path, train={**STEPS, "checkpoint_every": 1, "keep_checkpoints": 4})
    found = sorted((tmp_path / "work" / "checkpoints").glob("step-*"))
    assert [int(p.name[-2:]) for p in found] == [5, 6, 7, 8]
    assert (tmp_path / "work" / "checkpoints" / "latest").read_text() == "step-00000008\n"


def test_every_random_state_is_in_a_checkpoint_and_comes_back(tmp_path: Path) -> None:
    def drawn() -> list[float]:
        return [random.random(), random.gauss(0, 1), float(np.random.standard_normal()), float(torch.rand(1))]

    seed_all(3)
    drawn()  # leaves half a pair of normal deviates behind
    checkpoints = Checkpoints(tmp_path, "r")
    checkpoints.save(State(step=1), trained={}, best={}, optimizer={})
    expected = drawn()
    seed_all(0)
    assert checkpoints.newest() is not None
    assert drawn() == expected


@pytest.mark.parametrize("name", ["python.words", "numpy.keys", "torch"])
def test_a_missing_or_wrong_random_state_is_an_error(name: str) -> None:
    whole = random_state()
    with pytest.raises(TrainingError, match="random state"):
        restore_random_state({key: value for key, value in whole.items() if key != name})
    with pytest.raises(TrainingError, match="random state"):
        restore_random_state({**whole, name: torch.zeros(3, dtype=torch.int64)})


@pytest.mark.parametrize("part", ["state.json", "random.safetensors", "optimizer.safetensors"])
def test_a_whole_checkpoint_that_lacks_a_part_is_an_error(part: str, tmp_path: Path) -> None:
    """As an older version might have written it: the manifest is true, the content is not all there."""
    checkpoints = Checkpoints(tmp_path, "r")
    checkpoints.save(State(step=1), trained={}, best={}, optimizer={})
    final = tmp_path / "checkpoints" / "step-00000001"
    made = final.rename(tmp_path / "made")
    (made / "manifest.json").unlink()
    if part == "state.json":
        kept = orjson.loads((made / part).read_bytes())
        (made / part).write_bytes(orjson.dumps({k: v for k, v in kept.items() if k != "looks_without_gain"}))
    else:
        (made / part).unlink()
    commit(made, final, {"kind": "checkpoint", "run": "r", "made_for": {}})
    with pytest.raises(TrainingError, match="lacks a part of its state"):
        checkpoints.newest()


def test_at_most_two_checkpoints_stay_and_they_hold_no_pickle(tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path, train={**STEPS, "checkpoint_every": 1})
    found = sorted((tmp_path / "work" / "checkpoints").glob("step-*"))
    assert [p.name for p in found] == ["step-00000007", "step-00000008"]
    names = {p.suffix for p in (tmp_path / "work").rglob("*") if p.is_file() and p.name not in {"lock", "holder", "latest"}}
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
