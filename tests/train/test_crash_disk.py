"""Full and faulty disks: what was there stays, the run says what happened and goes on later, and damage is always seen."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fakes import Told, train_tiny
from power_cut import FullDisk
from tunesmith.core.disk import Disk
from tunesmith.core.errors import StorageError, TrainingError
from tunesmith.core.files import damage
from tunesmith.train import checkpoint as checkpoint_module
from tunesmith.train.checkpoint import Checkpoints, MetricLog, State

STEPS = {"max_steps": 6, "evaluate_every": 2, "checkpoint_every": 2}


def result(place: Path) -> tuple[str, ...]:
    """Hashes of adapter, optimiser state and metric log."""
    names = (
        "out/adapter/adapter_model.safetensors",
        "work/checkpoints/step-00000006/optimizer.safetensors",
        "out/metrics.jsonl",
    )
    return tuple(hashlib.sha256((place / name).read_bytes()).hexdigest() for name in names)


@pytest.fixture(scope="module")
def undisturbed(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    place = tmp_path_factory.mktemp("undisturbed")
    train_tiny(tiny_path, place, train=STEPS)
    return result(place)


def save_step(root: Path, step: int, *, disk: Disk | None = None, told: Told | None = None) -> None:
    """A row in the log and a checkpoint of that step, as the loop writes them."""
    disk = disk or Disk()
    checkpoints = Checkpoints(root, "r", disk=disk, reporter=told)
    found = checkpoints.newest()
    log = MetricLog(checkpoints.log_path, found[0].log_bytes if found else 0, disk=disk)
    log.write({"step": step, "loss": 1.0 / step, "sample": "word " * 10})
    value = torch.full((2,), float(step))
    checkpoints.save(State(step=step, log_bytes=log.sync()), trained={"w": value}, best={"w": value}, optimizer={"w/m": value})


# --- the disk is full -----------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_at_any_operation_keeps_the_checkpoint_before_and_takes_the_save_later(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    save_step(before, 1)
    save_step(before, 2)
    refused = 0
    while True:
        root = shutil.copytree(before, tmp_path / "root")
        disk = FullDisk(at=refused + 1)
        try:
            save_step(root, 3, disk=disk)
        except StorageError as error:
            assert "the disk is full while" in str(error) and "hint: free some space" in str(error)
        else:
            break
        found = Checkpoints(root, "r").newest()
        assert found is not None and found[0].step in {2, 3} and float(found[1]["w"][0]) == found[0].step
        assert not list((root / "checkpoints").glob(".tmp-*"))
        if found[0].step == 2:
            save_step(root, 3)
        assert Checkpoints(root, "r").newest() is not None
        assert (root / "metrics.jsonl").read_bytes().count(b"\n") == 3
        refused += 1
        shutil.rmtree(root)
    assert refused == disk.count > 20


@pytest.mark.parametrize("at", [6, 21, 30, 45])
def test_a_run_on_a_disk_that_fills_up_stops_with_a_message_and_goes_on_when_there_is_space(
    at: int, tiny_path: Path, tmp_path: Path, undisturbed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(StorageError, match="the disk is full while") as caught:
        full = FullDisk(at)
        patch.setattr(checkpoint_module.Checkpoints.__init__, "__kwdefaults__", {**DEFAULTS, "disk": full})
        train_tiny(tiny_path, tmp_path, train=STEPS)
    problem = caught.value.problems[0]
    assert (
        "resumes where it stopped" in problem.hint and "intact" in problem.expected
    ) or "no earlier checkpoint" in problem.expected
    train_tiny(tiny_path, tmp_path, train=STEPS)
    assert result(tmp_path) == undisturbed


DEFAULTS = dict(checkpoint_module.Checkpoints.__init__.__kwdefaults__ or {})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


def test_a_run_on_a_really_full_disk_stops_keeps_what_it_had_and_goes_on(
    small_disk: Path, tiny_path: Path, tmp_path: Path, undisturbed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "run"
    place.mkdir()
    (place / "work").symlink_to(small_disk)
    write, ballast = Disk.write, small_disk / "ballast"

    def fill_up_at_step_4(self: Disk, path: Path, data: bytes) -> None:
        if "step-00000004" in str(path) and not ballast.exists():
            with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        write(self, path, data)

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="writing the checkpoint of step 4") as caught:
        patch.setattr(Disk, "write", fill_up_at_step_4)
        train_tiny(tiny_path, place, train=STEPS)
    assert "the checkpoint before it is intact (step-00000002)" in str(caught.value)
    assert [p.name for p in (small_disk / "checkpoints").glob("step-*")] == ["step-00000002"]
    ballast.unlink()
    assert train_tiny(tiny_path, place, train=STEPS).fitted.resumed_at == 2
    assert result(place) == undisturbed


# --- the disk lies ----------------------------------------------------------------------------------------------------------


def damaged(data: bytes, draw: random.Random) -> bytes:
    """One bit flipped, a byte replaced, or the end cut off."""
    place = draw.randrange(len(data))
    kind = draw.choice(["bit", "byte", "cut"])
    if kind == "cut":
        return data[:place]
    other = data[place] ^ (1 << draw.randrange(8) if kind == "bit" else draw.randrange(1, 256))
    return data[:place] + bytes([other]) + data[place + 1 :]


@pytest.mark.parametrize("times", [100, pytest.param(1000, marks=pytest.mark.nightly)])
def test_flips_and_truncations_are_all_seen_told_and_fallen_back_from(times: int, tmp_path: Path) -> None:
    root, draw = tmp_path / "run", random.Random(11)
    root.mkdir()
    for step in (1, 2):
        save_step(root, step)
    newest = root / "checkpoints" / "step-00000002"
    log, first_row = root / "metrics.jsonl", (root / "metrics.jsonl").read_bytes().index(b"\n") + 1
    contents = {path: path.read_bytes() for path in [*sorted(newest.iterdir()), log]}
    for number in range(times):
        victim = draw.choice(list(contents))
        data = contents[victim]
        torn = data[:first_row] + damaged(data[first_row:], draw) if victim == log else damaged(data, draw)
        victim.write_bytes(torn)
        told = Told()
        found = Checkpoints(root, "r", reporter=told).newest()
        assert found is not None and found[0].step == 1, (number, victim.name)
        assert len(told.warnings) == 1 and "step-00000002 is damaged" in told.warnings[0]
        victim.write_bytes(data)
    told = Told()
    whole = Checkpoints(root, "r", reporter=told).newest()
    assert whole is not None and whole[0].step == 2 and not told.warnings


def test_what_was_passed_over_never_counts_as_one_of_the_two_that_stay(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for step in (1, 2, 9):
        save_step(tmp_path, step)
    (folder / "step-00000009" / "best.safetensors").write_bytes(b"torn")
    save_step(tmp_path, 3)  # goes back to step 2 and on by the clock
    assert sorted(p.name for p in folder.glob("step-*")) == ["step-00000002", "step-00000003"]
    assert not damage(folder / "step-00000002") and not damage(folder / "step-00000003")


def test_a_checkpoint_of_the_same_step_with_another_past_is_replaced(tmp_path: Path) -> None:
    save_step(tmp_path, 1)
    save_step(tmp_path, 2)
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(log.read_bytes().replace(b"0.5", b"0.7"))  # step 2 now has a log that it does not know
    told = Told()
    found = Checkpoints(tmp_path, "r", reporter=told).newest()
    assert found is not None and found[0].step == 1 and len(told.warnings) == 1
    changed = Checkpoints(tmp_path, "r")
    rows = MetricLog(changed.log_path, found[0].log_bytes)
    rows.write({"step": 2, "loss": 0.4999})
    changed.save(State(step=2, log_bytes=rows.sync()), trained={"w": torch.ones(2)}, best={}, optimizer={})
    told = Told()
    again = Checkpoints(tmp_path, "r", reporter=told).newest()
    assert again is not None and again[0].step == 2 and float(again[1]["w"][0]) == 1.0 and not told.warnings


def test_a_reader_that_trusts_sizes_alone_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: without the hashes, flips go unseen."""
    from tunesmith.core import files

    save_step(tmp_path, 1)
    save_step(tmp_path, 2)
    victim = tmp_path / "checkpoints" / "step-00000002" / "trained.safetensors"
    data = victim.read_bytes()
    facts = {victim: hashlib.sha256(data).hexdigest()}
    real = files.sha256_file
    monkeypatch.setattr(files, "sha256_file", lambda path: facts.get(path) or real(path))
    victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = Checkpoints(tmp_path, "r").newest()
    assert found is not None and found[0].step == 2


def test_damage_to_what_every_checkpoint_needs_is_an_error(tmp_path: Path) -> None:
    save_step(tmp_path, 1)
    save_step(tmp_path, 2)
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(b"x" + log.read_bytes()[1:])
    told = Told()
    with pytest.raises(TrainingError, match="the metric log is not as it was written"):
        Checkpoints(tmp_path, "r", reporter=told).newest()
    assert len(told.warnings) == 2
