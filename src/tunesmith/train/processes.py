"""What a run is divided among: one process, the default, or several that make every step together.

The loop, the batches and the validation speak to `Processes` alone. `ALONE` changes nothing, to the bit; `several.Several` is
for processes that torchrun started.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import torch

__all__ = ["ALONE", "Alone", "Processes", "part_of"]

T = TypeVar("T")
Tensors = Mapping[str, torch.Tensor]


class Processes(Protocol):
    """The processes of a run, as one of them sees them. `rank` counts from 0; process 0 alone writes and speaks.

    Every method but `hand_out` is called by all processes in the same order.
    """

    @property
    def rank(self) -> int: ...

    @property
    def count(self) -> int: ...

    @property
    def sharers(self) -> int:
        """Those on this machine, which share its memory."""
        ...

    def hand_out(self, work: Any) -> None:
        """Called by process 0 alone: gives the others the work that they wait for (see `together`)."""
        ...

    def told(self, find: Callable[[], T]) -> T:
        """What `find` gives in process 0; it is called there alone."""
        ...

    def taken(self, items: Sequence[T], work: Callable[[T], tuple[torch.Tensor, ...]]) -> Iterator[tuple[torch.Tensor, ...]]:
        """The results of `work` on all items, in order, in every process; each item is worked on in one of them."""
        ...

    def total(self, *numbers: float) -> list[float]:
        """Each number summed over the processes; whole numbers stay whole."""
        ...

    def highest(self, number: int) -> int:
        """The highest of all processes."""
        ...

    def divide(self, model: Any) -> None:
        """Keep of each layer of the model only this process's part, from here on."""
        ...

    def whole(self, model: Any) -> AbstractContextManager[None]:
        """Inside, process 0 has the whole weights of the model, to save them or look at them."""
        ...

    def drawn(self, model: Any, draw: Callable[[], T]) -> T:
        """What process 0 gets from the whole model by `draw`, which the others wait for: answers, token by token."""
        ...

    def settle(self, parameters: Sequence[torch.Tensor], most: float) -> torch.Tensor:
        """Make every gradient the sum over the processes, clip all of them to the norm `most`; the norm before that."""
        ...

    def parted(self, tensors: Tensors, like: Tensors) -> dict[str, torch.Tensor]:
        """This process's part of whole tensors. Each is divided as the tensor of `like` whose name is within its own."""
        ...


class Alone:
    """One process: whatever is asked of all is asked of it."""

    rank = 0
    count = 1
    sharers = 1

    def hand_out(self, work: Any) -> None:
        """There is nobody else."""

    def told(self, find: Callable[[], T]) -> T:
        """As found."""
        return find()

    def taken(self, items: Sequence[T], work: Callable[[T], tuple[torch.Tensor, ...]]) -> Iterator[tuple[torch.Tensor, ...]]:
        """One after the other."""
        return map(work, items)

    def total(self, *numbers: float) -> list[float]:
        """The numbers themselves."""
        return list(numbers)

    def highest(self, number: int) -> int:
        """The number itself."""
        return number

    def divide(self, model: Any) -> None:
        """Nothing to divide."""

    def whole(self, model: Any) -> AbstractContextManager[None]:
        """It is whole."""
        return nullcontext()

    def drawn(self, model: Any, draw: Callable[[], T]) -> T:
        """As drawn."""
        return draw()

    def settle(self, parameters: Sequence[torch.Tensor], most: float) -> torch.Tensor:
        """Clip as torch does."""
        return torch.nn.utils.clip_grad_norm_(parameters, most if most > 0 else math.inf)

    def parted(self, tensors: Tensors, like: Tensors) -> dict[str, torch.Tensor]:
        """The tensors themselves."""
        return dict(tensors)


ALONE: Processes = Alone()


def part_of(rows: Sequence[int], sizes: Sequence[int], *, rank: int, count: int) -> list[int]:
    """The rows, in order, that process `rank` of `count` learns: neighbours stay together, and all get about the same number of
    tokens. `sizes[row]`: its tokens. Empty where there are fewer rows than processes.

    A row belongs to the process in whose stretch of the batch its middle lies, so the parts of all processes are the batch.
    """
    total, done = sum(sizes[row] for row in rows), 0
    mine = []
    for row in rows:
        middle = done + sizes[row] / 2
        if min(count - 1, int(middle * count / total)) == rank:
            mine.append(row)
        done += sizes[row]
    return mine
