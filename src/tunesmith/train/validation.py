"""Validation during a run: the method's figures on held-out units and a few sample answers, which a stop request ends promptly.

Where there are many units, the first validation, before step 1, takes in a few of them: learning begins soon. The untrained
model is then measured on all of them together with the first validation of a trained one, so that the curve has its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from tunesmith.core.reporter import Reporter
from tunesmith.train.checkpoint import Tensors
from tunesmith.train.processes import Processes
from tunesmith.train.stop import Stop

__all__ = ["FIRST_UNITS", "OnDone", "Validation", "Validator", "agreed", "holding"]

FIRST_UNITS = 16  # of the first validation

OnDone = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Validation:
    """`measure(n, on_done)`: named figures over the first `n` of `num_units` units; `sample(on_done)`: some answers."""

    num_units: int
    measure: Callable[[int, OnDone], Mapping[str, float]]
    sample: Callable[[OnDone], Sequence[str]]

    @property
    def begins_small(self) -> bool:
        """Whether the first validation takes in fewer units than the others."""
        return self.num_units > FIRST_UNITS


def agreed(
    measure: Callable[[int, OnDone], Mapping[str, float]], processes: Processes
) -> Callable[[int, OnDone], Mapping[str, float]]:
    """`measure` with the figures of process 0 in all: whoever decides by the last digits must decide alike."""

    def measured(num_units: int, on_done: OnDone) -> Mapping[str, float]:
        found = measure(num_units, on_done)
        return processes.told(lambda: dict(found))

    return measured


@dataclass(frozen=True, slots=True)
class Validator:
    """A validation that says how far it is and ends with Stopped where a stop is asked for."""

    of: Validation
    stop: Stop

    def first(self, reporter: Reporter) -> Mapping[str, float]:
        """The small one, before the first step."""
        with reporter.progress("first validation", total=FIRST_UNITS, unit="rows") as progress:
            found = self.of.measure(FIRST_UNITS, self._watched(lambda count: progress.advance(count)))
            progress.advance(0, f"loss {found['loss']:.3f} before anything is learned")
            return found

    def whole(self, step: int, say: Callable[[str], None]) -> tuple[Mapping[str, float], list[str]]:
        """All units, then the samples."""
        done = 0

        def count(rows: int) -> None:
            nonlocal done
            done += rows
            say(f"validation at step {step}: {done}/{self.of.num_units} rows")

        count(0)
        found = self.of.measure(self.of.num_units, self._watched(count))
        say(f"sample answers at step {step}")
        return found, list(self.of.sample(self._watched(lambda _: None)))

    def _watched(self, on_done: OnDone) -> OnDone:
        def note(count: int) -> None:
            on_done(count)
            self.stop.check()

        self.stop.check()
        return note


@contextmanager
def holding(named: Tensors, values: Tensors) -> Iterator[None]:
    """Inside, the tensors `named` hold `values`; afterwards what they held before, to the bit."""
    before = {name: tensor.detach().clone() for name, tensor in named.items()}
    try:
        _copy(named, values)
        yield
    finally:
        _copy(named, before)


@torch.no_grad()
def _copy(into: Tensors, values: Tensors) -> None:
    for name, tensor in into.items():
        tensor.copy_(values[name])
