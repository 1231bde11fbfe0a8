"""Validation during a run: loss and accuracy on held-out rows and a few sample answers, which a stop request ends promptly.

Where there are many rows, the first validation, before step 1, takes in a few of them: learning begins soon. The untrained
model is then measured on all of them together with the first validation of a trained one, so that the curve has its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from tunesmith.core.reporter import Reporter
from tunesmith.train.checkpoint import Tensors
from tunesmith.train.passes import Look
from tunesmith.train.stop import Stop

__all__ = ["FIRST_ROWS", "OnDone", "Validation", "Validator", "holding"]

FIRST_ROWS = 16  # of the first validation

OnDone = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Validation:
    """`measure(n, on_done)`: loss and accuracy over the first `n` of `num_rows` rows; `sample(on_done)`: some answers."""

    num_rows: int
    measure: Callable[[int, OnDone], Look]
    sample: Callable[[OnDone], Sequence[str]]

    @property
    def begins_small(self) -> bool:
        """Whether the first validation takes in fewer rows than the others."""
        return self.num_rows > FIRST_ROWS


@dataclass(frozen=True, slots=True)
class Validator:
    """A validation that says how far it is and ends with Stopped where a stop is asked for."""

    of: Validation
    stop: Stop

    def first(self, reporter: Reporter) -> Look:
        """The small one, before the first step."""
        with reporter.progress("first validation", total=FIRST_ROWS, unit="rows") as progress:
            seen = self.of.measure(FIRST_ROWS, self._watched(lambda count: progress.advance(count)))
            progress.advance(0, f"loss {seen.loss:.3f} before anything is learned")
            return seen

    def whole(self, step: int, say: Callable[[str], None]) -> tuple[Look, list[str]]:
        """All rows, then the samples."""
        done = 0

        def count(rows: int) -> None:
            nonlocal done
            done += rows
            say(f"validation at step {step}: {done}/{self.of.num_rows} rows")

        count(0)
        seen = self.of.measure(self.of.num_rows, self._watched(count))
        say(f"sample answers at step {step}")
        return seen, list(self.of.sample(self._watched(lambda _: None)))

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
