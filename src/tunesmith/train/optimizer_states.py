"""Optimiser states in files instead of memory: mapped while a step moves their tensors, and otherwise only on disk.

AdamW keeps two float32 numbers for each one that it moves, twice the weights of a full fine-tune, and needs them for a moment
in each step. Here a step takes about 64 MiB of weights at a time, and their states leave the process's memory before the next
ones come. The numbers are the same to the bit. The system keeps the files in its page cache as long as memory is free.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tunesmith.core.errors import TrainingError
from tunesmith.core.files import make_folders, storage_errors

__all__ = ["StatesOnDisk", "states_on_disk"]

_CHUNK = 64 * 2**20  # bytes of weights whose states are in memory at once
_ALIGNED = 64


def states_on_disk(folder: Path, device: torch.device) -> StatesOnDisk:
    """For tensors on `device`. TrainingError for another one than the CPU."""
    if device.type != "cpu":
        raise TrainingError(
            "train.optimizer_states disk needs a run on the CPU",
            value=f"the model is on {device.type}",
            expected="states in the memory of the process, which a file can hold as well",
            hint="--set train.optimizer_states=memory, or --set train.optimizer=paged_adamw_8bit",
        )
    return StatesOnDisk(folder, chunk_bytes=_CHUNK)


class StatesOnDisk:
    """The states of torch optimisers, in unnamed files within `folder` that are gone with the process.

    It moves tensors of the optimiser's own state into the files as they appear, so a restored state is taken as it is. For
    optimisers whose groups change nothing between two calls but their rate, such as AdamW.
    """

    def __init__(self, folder: Path, *, chunk_bytes: int) -> None:
        self._folder, self._chunk = folder, chunk_bytes
        self._maps: dict[torch.Tensor, mmap.mmap] = {}  # by the first tensor of a chunk

    def step(self, part: torch.optim.Optimizer) -> None:
        """One step of `part`, a chunk of its tensors after the other. StorageError if the disk does not take the states."""
        groups = part.param_groups
        try:
            for group in groups:
                for chunk in _chunks(group["params"], self._chunk):
                    part.param_groups = [{**group, "params": chunk}]
                    part.step()
                    self._park([part.state[tensor] for tensor in chunk if tensor in part.state], chunk[0])
        finally:
            part.param_groups = groups

    def reading(self, tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """The same tensors, of which those that were read before leave memory when the next one is read."""
        return _OneByOne(tensors, self)

    def release(self) -> None:
        """Let the pages of all states go; the files keep them."""
        for held in self._maps.values():
            _let_go(held)

    def _park(self, states: Sequence[dict[str, Any]], key: torch.Tensor) -> None:
        """Put the tensors of these states into a file, if they are in none yet; numbers stay where they are."""
        if key not in self._maps:
            places = [(state, name) for state in states for name, value in state.items() if _has_shape(value)]
            if not places:
                return
            held = self._maps[key] = self._written([state[name] for state, name in places])
            offset = 0
            for state, name in places:
                value = state[name]
                state[name] = torch.frombuffer(held, dtype=value.dtype, count=value.numel(), offset=offset).view(value.shape)
                offset += _room(value)
        _let_go(self._maps[key])

    def _written(self, tensors: Sequence[torch.Tensor]) -> mmap.mmap:
        with storage_errors("keeping the optimiser's states", self._folder, safe="the last checkpoint is intact"):
            make_folders(self._folder)
            with tempfile.TemporaryFile(dir=self._folder) as file:
                for tensor in tensors:  # written, not only sized: a full disk would be a crash in a mapped page
                    file.write(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().data)
                    file.write(b"\0" * (_room(tensor) - tensor.nbytes))
                file.flush()
                return mmap.mmap(file.fileno(), 0)


class _OneByOne(Mapping[str, torch.Tensor]):
    """See `StatesOnDisk.reading`."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], states: StatesOnDisk) -> None:
        self._tensors, self._states = tensors, states

    def __getitem__(self, name: str) -> torch.Tensor:
        self._states.release()
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _has_shape(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0


def _room(tensor: torch.Tensor) -> int:
    """Bytes of a tensor in a file, up to where the next one is aligned."""
    return -(-tensor.nbytes // _ALIGNED) * _ALIGNED


def _let_go(held: mmap.mmap) -> None:
    if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows, which trims a process by itself when memory is short
        held.madvise(mmap.MADV_DONTNEED)


def _chunks(tensors: Sequence[torch.Tensor], most: int) -> Iterator[list[torch.Tensor]]:
    """In order, as many at a time as have `most` bytes together, and at least one."""
    chunk: list[torch.Tensor] = []
    size = 0
    for tensor in tensors:
        if chunk and size + tensor.nbytes > most:
            yield chunk
            chunk, size = [], 0
        chunk.append(tensor)
        size += tensor.nbytes
    if chunk:
        yield chunk
