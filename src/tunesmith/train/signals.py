"""Batches of a method that needs numbers of the current weights before its loss (see `train.method.Signalled`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunesmith.train.loop import RandomAccess
from tunesmith.train.method import Forward, Signalled
from tunesmith.train.units import Batch

__all__ = ["SignalledBatches"]


@dataclass(frozen=True, slots=True)
class SignalledBatches:
    """The batches of `source`, their units with the numbers that the method makes of each whole batch."""

    source: RandomAccess
    method: Signalled
    forward: Forward

    def at(self, index: int) -> Sequence[Batch]:
        """The parts of a batch. The numbers are those of the weights at the time of the call."""
        parts = self.source.at(index)
        found = iter(self.method.signal(self.forward, [unit for part in parts for unit in part.units]))
        return [replace(part, units=tuple(replace(unit, signal=next(found)) for unit in part.units)) for part in parts]

    def shrink(self) -> bool:
        """As the source."""
        return self.source.shrink()
