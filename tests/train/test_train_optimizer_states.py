"""Optimiser states on disk: the same weights to the bit, little of the states in memory, and nothing left behind."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fakes import train_tiny
from tunesmith.core.errors import StorageError, TrainingError
from tunesmith.train import optimizer_states
from tunesmith.train.optimizer import Optimizer
from tunesmith.train.optimizer_state import optimizer_tensors, restore_optimizer
from tunesmith.train.optimizer_states import StatesOnDisk, states_on_disk

SHAPES = ((300, 200), (70,), (64, 33), (5, 7, 3), (1,))
FULL = {"kind": "full"}
RUN = {"max_steps": 6, "evaluate_every": 2, "checkpoint_every": 3, "weight_decay": 0.01}
ON_DISK = {**RUN, "optimizer_states": "disk"}


def parameters() -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def opened(tensors: list[torch.nn.Parameter], folder: Path | None, *, fused: bool = True) -> Optimizer:
    groups: list[dict[str, Any]] = [{"params": tensors[:3]}, {"params": tensors[3:], "weight_decay": 0.5}]
    states = StatesOnDisk(folder, chunk_bytes=9_000) if folder else None
    return Optimizer((torch.optim.AdamW(groups, fused=fused),), states=states)


def steps(tensors: list[torch.nn.Parameter], optimizer: Optimizer, numbers: range) -> None:
    for number in numbers:
        torch.manual_seed(number)
        for tensor in tensors:
            tensor.grad = torch.randn_like(tensor) + 0.1 * tensor.detach()
        optimizer.set_rate(0.01 * (1 + number))
        optimizer.step()
        optimizer.zero_grad()


def equal(a: list[torch.nn.Parameter], b: list[torch.nn.Parameter]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("fused", [True, False])
def test_steps_with_states_on_disk_are_those_in_memory_to_the_bit(fused: bool, tmp_path: Path) -> None:
    usual, held = parameters(), parameters()
    steps(usual, opened(usual, None, fused=fused), range(5))
    steps(held, opened(held, tmp_path, fused=fused), range(5))
    assert equal(usual, held)


def test_a_state_that_is_lost_between_two_steps_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: pages that are let go without their file."""
    usual, held = parameters(), parameters()
    steps(usual, opened(usual, None), range(3))

    def lost(pages: mmap.mmap) -> None:
        pages[:] = bytes(len(pages))

    monkeypatch.setattr(optimizer_states, "_let_go", lost)
    steps(held, opened(held, tmp_path), range(3))
    assert not equal(usual, held)


def test_what_a_checkpoint_takes_and_puts_back_is_the_state_in_memory(tmp_path: Path) -> None:
    usual, held, again = parameters(), parameters(), parameters()
    in_memory, on_disk = opened(usual, None), opened(held, tmp_path / "a")
    steps(usual, in_memory, range(4))
    steps(held, on_disk, range(4))
    names: dict[torch.Tensor, str] = {tensor: str(n) for n, tensor in enumerate(held)}
    saved = on_disk.reading(optimizer_tensors(on_disk, names))
    kept = optimizer_tensors(in_memory, {tensor: str(n) for n, tensor in enumerate(usual)})
    assert list(saved) == list(kept) and len(saved) == 3 * len(SHAPES) + 1  # a decay
    assert all(torch.equal(saved[name], kept[name]) for name in kept)
    for old, new in zip(held, again, strict=True):
        new.data.copy_(old.data)
    resumed = opened(again, tmp_path / "b")
    restore_optimizer(resumed, {tensor: str(n) for n, tensor in enumerate(again)}, {k: v.clone() for k, v in saved.items()})
    steps(again, resumed, range(4, 7))
    steps(usual, in_memory, range(4, 7))
    assert equal(usual, again)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the kernel's own count of a process's pages")
def test_between_steps_no_page_of_the_states_is_in_memory(tmp_path: Path) -> None:
    held = parameters()
    optimizer = opened(held, tmp_path)
    steps(held, optimizer, range(2))

    def resident() -> int:
        found, ours = 0, False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            first, *rest = line.split()
            if not first.endswith(":"):
                ours = str(tmp_path) in line
            elif ours and first == "Rss:":
                found += int(rest[0])
        return found

    assert resident() == 0
    float(optimizer.parts[0].state[held[0]]["exp_avg"].sum())  # the same count finds what is read
    assert resident() > 0


def hashes(place: Path) -> list[str]:
    names = ("model/model.safetensors", "metrics.jsonl")
    return [hashlib.sha256((place / "out" / name).read_bytes()).hexdigest() for name in names]


def test_a_run_ends_with_the_same_bytes_and_leaves_no_file_of_states(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizer_states, "_CHUNK", 20_000)
    train_tiny(tiny_path, tmp_path / "memory", train=RUN, method=FULL)
    train_tiny(tiny_path, tmp_path / "disk", train=ON_DISK, method=FULL)
    assert hashes(tmp_path / "memory") == hashes(tmp_path / "disk")
    assert not list((tmp_path / "disk" / "work" / "states").iterdir())
    assert not (tmp_path / "memory" / "work" / "states").exists()


def test_a_run_may_resume_with_its_states_elsewhere(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunesmith.train import loop as loop_module

    class Kill(BaseException):
        """As good as SIGKILL for everything that happens in this process."""

    train_tiny(tiny_path, tmp_path / "whole", train=RUN, method=FULL)
    step, calls = loop_module._step, 0

    def dying(*given: Any, **how: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise Kill
        return step(*given, **how)

    with monkeypatch.context() as patch, pytest.raises(Kill):
        patch.setattr(loop_module, "_step", dying)
        train_tiny(tiny_path, tmp_path / "cut", train=ON_DISK, method=FULL)
    assert train_tiny(tiny_path, tmp_path / "cut", train=RUN, method=FULL).fitted.resumed_at == 3
    assert hashes(tmp_path / "cut") == hashes(tmp_path / "whole")


def test_a_disk_that_takes_no_states_is_an_error_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None: ...

        def write(self, _: object) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(optimizer_states, "tempfile", SimpleNamespace(TemporaryFile=lambda **_: Full()))
    held = parameters()
    with pytest.raises(StorageError, match="optimiser's states"):
        steps(held, opened(held, tmp_path), range(1))


def test_states_on_disk_are_for_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="needs a run on the CPU") as caught:
        states_on_disk(tmp_path, torch.device("cuda"))
    assert "optimizer_states=memory" in str(caught.value)
