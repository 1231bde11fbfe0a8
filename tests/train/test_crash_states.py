"""A power cut at any moment of a save leaves the checkpoint before it or the new one, and never a mixture of the two."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson
import pytest
import torch

from power_cut import Op, Recorder, Tree, build, outcomes, read_tree
from tunesmith.core.errors import TrainingError
from tunesmith.train import checkpoint as checkpoint_module
from tunesmith.train.checkpoint import Checkpoints, MetricLog, State

ROWS = [{"step": n, "loss": 1.0 / n} for n in range(1, 4)]


def save_step(checkpoints: Checkpoints, log: MetricLog, step: int) -> None:
    """One more row in the log, and a checkpoint whose every tensor tells its step."""
    log.write(ROWS[step - 1])
    state = State(step=step, best_step=step, best_loss=1.0 / step, log_bytes=log.sync())
    value = torch.full((2,), float(step))
    checkpoints.save(state, trained={"w": value}, best={"w": value + 0.5}, optimizer={"w/exp_avg": -value})


def two_saves(root: Path) -> None:
    """What lies there before the save that is watched: steps 1 and 2."""
    checkpoints, log = Checkpoints(root, "r"), MetricLog(root / "metrics.jsonl", 0)
    for step in (1, 2):
        save_step(checkpoints, log, step)


def recorded(root: Path, act: Callable[[Recorder], None]) -> tuple[Tree, list[Op]]:
    """The tree before, and the operations of `act`."""
    before, disk = read_tree(root), Recorder(root)
    act(disk)
    return before, disk.log


def third_save(root: Path) -> Callable[[Recorder], None]:
    def act(disk: Recorder) -> None:
        checkpoints = Checkpoints(root, "r", disk=disk)
        found = checkpoints.newest()
        assert found is not None
        save_step(checkpoints, MetricLog(checkpoints.log_path, found[0].log_bytes, disk=disk), 3)

    return act


def step_found(root: Path) -> int:
    """The step that a run would go on from; 0 if it begins anew. Fails on anything but one whole state."""
    checkpoints = Checkpoints(root, "r")
    found = checkpoints.newest()
    if found is None:
        return 0
    state, trained, best, optimizer = found
    value = torch.full((2,), float(state.step))
    assert torch.equal(trained["w"], value) and torch.equal(best["w"], value + 0.5)
    assert torch.equal(optimizer["w/exp_avg"], -value) and state.best_loss == 1.0 / state.step
    MetricLog(checkpoints.log_path, state.log_bytes).close()
    assert len(checkpoints.log_path.read_bytes().splitlines()) == state.step
    return state.step


def bad_states(before: Tree, log: Sequence[Op], place: Path, *, old: int, new: int) -> Iterator[str]:
    """What is wrong after each possible cut, one line a state; nothing for a state that is as it should be."""
    shutil.rmtree(place, ignore_errors=True)
    for number, (cut, tree) in enumerate(outcomes(before, log)):
        root = build(tree, place)
        try:
            found = step_found(root)
        except (AssertionError, TrainingError) as error:
            yield f"state {number} after {cut} of {len(log)} operations: {error}"
        else:
            allowed = {new} if cut == len(log) else {old, new}
            yield "" if found in allowed else f"state {number} after {cut} of {len(log)}: step {found}"
        shutil.rmtree(root)


def test_every_cut_in_a_save_leaves_the_old_or_the_new_checkpoint(tmp_path: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()
    two_saves(root)
    before, log = recorded(root, third_save(root))
    found = list(bad_states(before, log, tmp_path / "state", old=2, new=3))
    assert not [line for line in found if line]
    assert len(found) > 3000


def test_every_cut_in_the_first_save_leaves_nothing_or_the_checkpoint(tmp_path: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()

    def act(disk: Recorder) -> None:
        save_step(Checkpoints(root, "r", disk=disk), MetricLog(root / "metrics.jsonl", 0, disk=disk), 1)

    before, log = recorded(root, act)
    assert not [line for line in bad_states(before, log, tmp_path / "state", old=0, new=1) if line]


def test_each_sync_of_the_protocol_is_needed_and_its_absence_is_found(tmp_path: Path) -> None:
    """The planted faults: the same save without one of its syncs, or without all of the folder's.

    The folder is synced for the checkpoint and again for `latest`, so that only both together can be missed.
    """
    root = tmp_path / "run"
    root.mkdir()
    two_saves(root)
    before, log = recorded(root, third_save(root))
    syncs = [{i} for i, op in enumerate(log) if op.kind == "sync" and op.path != "checkpoints" and "latest" not in op.path]
    assert len(syncs) == 8  # the log, five files, the manifest, their folder
    for left_out in [*syncs, {i for i, op in enumerate(log) if op.kind == "sync" and op.path == "checkpoints"}]:
        faulty = [op for i, op in enumerate(log) if i not in left_out]
        assert any(bad_states(before, faulty, tmp_path / "state", old=2, new=3)), [log[i].path for i in left_out]


def test_a_protocol_that_removes_before_it_commits_is_found(tmp_path: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()
    two_saves(root)

    def careless(disk: Recorder) -> None:
        for old in sorted((root / "checkpoints").glob("step-*")):
            disk.rename(old, old.with_name(f".tmp-{old.name}"))
        save_step(Checkpoints(root, "r", disk=disk), MetricLog(root / "metrics.jsonl", len(log_after(2)), disk=disk), 3)

    before, log = recorded(root, careless)
    assert any(bad_states(before, log, tmp_path / "state", old=2, new=3))


def log_after(steps: int) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in ROWS[:steps])


def test_a_reader_that_does_not_check_the_bytes_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written in place, one after the other, under a name that is already there: only the hashes tell."""
    root = tmp_path / "run"
    root.mkdir()
    two_saves(root)

    def in_place(disk: Recorder) -> None:
        made = tmp_path / "made"
        shutil.copytree(root, made)
        save_step(Checkpoints(made, "r"), MetricLog(made / "metrics.jsonl", len(log_after(2))), 3)
        disk.append(root / "metrics.jsonl", log_after(3)[len(log_after(2)) :])
        for name in ("trained.safetensors", "best.safetensors", "state.json"):
            new = (made / "checkpoints" / "step-00000003" / name).read_bytes()
            disk.write(root / "checkpoints" / "step-00000002" / name, new)

    before, log = recorded(root, in_place)
    blind = lambda path: orjson.loads((path / "manifest.json").read_bytes())  # noqa: E731
    monkeypatch.setattr(checkpoint_module, "verify", blind)
    assert any("assert" in line for line in bad_states(before, log, tmp_path / "state", old=2, new=3))


def test_a_run_goes_on_from_any_state_that_a_cut_leaves(tmp_path: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()
    two_saves(root)
    before, log = recorded(root, third_save(root))
    for cut, tree in list(outcomes(before, log))[::97]:
        place = build(tree, tmp_path / "state")
        if step_found(place) == 2:
            third_save(place)(Recorder(place))
        assert step_found(place) == 3, cut
        assert (place / "metrics.jsonl").read_bytes() == log_after(3)
        assert not list((place / "checkpoints").glob(".tmp-*"))
        shutil.rmtree(place)
