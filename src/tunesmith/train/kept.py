"""Where the best weights of a run are kept: in a file each, so that a whole model that is trained needs no copies in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import safe_open

from tunesmith.core.disk import DISK, Disk
from tunesmith.core.files import make_folders, storage_errors
from tunesmith.train.checkpoint import Checkpoints
from tunesmith.train.processes import Processes
from tunesmith.train.tensor_pieces import pieces

__all__ = ["MEMORY", "Joined", "Keeping", "Kept", "OnDisk", "keeping_in"]

Kept = Mapping[str, torch.Tensor]


class Keeping(Protocol):
    """How weights are kept that will change."""

    def keep(self, tensors: Kept) -> Kept:
        """The same numbers, whatever becomes of the tensors."""
        ...

    def drop_all_but(self, *kept: Kept) -> None:
        """Let go of what was kept, apart from these."""
        ...


class _InMemory:
    """A copy of each tensor, which lives as long as somebody holds it."""

    def keep(self, tensors: Kept) -> Kept:
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def drop_all_but(self, *kept: Kept) -> None:
        return None


MEMORY = _InMemory()


@dataclass(frozen=True, slots=True)
class _InFile(Mapping[str, torch.Tensor]):
    """Tensors in a file; each is read when it is asked for, and is on the CPU."""

    path: Path
    names: tuple[str, ...]

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self.names:
            raise KeyError(name)
        with safe_open(self.path, framework="pt") as file:
            found: torch.Tensor = file.get_tensor(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Joined(Mapping[str, torch.Tensor]):
    """Two sets of tensors as one, of which none is read before it is asked for. `prefix` stands before the names of `other`."""

    first: Kept
    other: Kept
    prefix: str

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.other[name.removeprefix(self.prefix)] if name.startswith(self.prefix) else self.first[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.first
        yield from (self.prefix + name for name in self.other)

    def __len__(self) -> int:
        return len(self.first) + len(self.other)


class OnDisk:
    """Files in a folder of their own. What an earlier process kept there is removed: a checkpoint holds it too."""

    def __init__(self, folder: Path, *, disk: Disk = DISK) -> None:
        self._folder, self._disk, self._number = folder, disk, 0
        self.drop_all_but()

    def keep(self, tensors: Kept) -> Kept:
        """StorageError if the disk does not take them."""
        self._number += 1
        path = self._folder / f"{self._number}.safetensors"
        with storage_errors("keeping the best weights", path, safe="the last checkpoint is intact"):
            make_folders(self._folder, disk=self._disk)
            for number, piece in enumerate(pieces(tensors)):
                (self._disk.append if number else self._disk.write)(path, piece)
        return _InFile(path, tuple(tensors))

    def drop_all_but(self, *kept: Kept) -> None:
        """Remove the other files. One that cannot be removed now goes with the run's work folder."""
        held = {one.path for one in kept if isinstance(one, _InFile)}
        for file in sorted(self._folder.glob("*.safetensors")):
            if file not in held:
                with suppress(OSError):
                    self._disk.remove(file)


def keeping_in(checkpoints: Checkpoints, processes: Processes) -> Keeping:
    """In files next to the checkpoints; in memory where several processes hold a part each."""
    return OnDisk(checkpoints.log_path.parent / "best", disk=checkpoints.disk) if processes.count == 1 else MEMORY
