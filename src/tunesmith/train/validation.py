"""Validation during a run: the method's figures on held-out units and a few sample answers, which a stop request ends promptly.

Where there are many units, the first validation, before step 1, takes in a few of them: learning begins soon. The untrained
model is then measured on all of them together with the first validation of a trained one, so that the curve has its start.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from tunesmith.core.reporter import Reporter
from tunesmith.eval.metrics.repetition import loops
from tunesmith.models.chat import Chat
from tunesmith.train.checkpoint import Tensors
from tunesmith.train.processes import Processes
from tunesmith.train.stop import Stop
from tunesmith.train.units import Unit, rows_of

__all__ = ["FIRST_UNITS", "OnDone", "Said", "Validation", "Validator", "agreed", "bits_of_a_nat", "holding"]

FIRST_UNITS = 16  # of the first validation

OnDone = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Said:
    """A sample answer, and whether the model ended it by itself."""

    text: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Validation:
    """`measure(n, on_done)`: named figures over the first `n` of `num_units` units; `sample(on_done)`: some answers.

    `bits_per_byte`: those of the answers of all units where their loss is 1 (see `bits_of_a_nat`).
    """

    num_units: int
    measure: Callable[[int, OnDone], Mapping[str, float]]
    sample: Callable[[OnDone], Sequence[Said]]
    bits_per_byte: float | None = None

    @property
    def begins_small(self) -> bool:
        """Whether the first validation takes in fewer units than the others."""
        return self.num_units > FIRST_UNITS


def bits_of_a_nat(units: Sequence[Unit], chat: Chat, *, loss_unit: str) -> float | None:
    """Bits per byte of the learned text of `units` at a loss of one nat per token: the loss in the unit of the evaluation.

    End tokens count as tokens and have no bytes. None where the loss is no mean over equally weighted tokens.
    """
    rows = rows_of(units)
    tokens = sum(row.num_learned for row in rows)
    if loss_unit != "nats per token" or any(unit.weight != sum(row.num_learned for row in unit.rows) for unit in units):
        return None
    learned = ([token for token, mark in zip(row.ids, row.learned, strict=True) if mark] for row in rows)
    num_bytes = sum(len(chat.decode(ids).encode()) for ids in learned)
    return tokens / num_bytes / math.log(2) if num_bytes else None


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

    def whole(self, step: int, say: Callable[[str], None]) -> tuple[Mapping[str, float], dict[str, Any]]:
        """All units, then the samples: the method's figures, and what else the log says of this validation.

        That is `val_bits_per_byte`, the shares `answers_ended` and `answers_looped` of the samples, and their texts.
        """
        done = 0

        def count(rows: int) -> None:
            nonlocal done
            done += rows
            say(f"validation at step {step}: {done}/{self.of.num_units} rows")

        count(0)
        found = self.of.measure(self.of.num_units, self._watched(count))
        say(f"sample answers at step {step}")
        answers = self.of.sample(self._watched(lambda _: None))
        noted: dict[str, Any] = {}
        if self.of.bits_per_byte is not None:
            noted["val_bits_per_byte"] = found["loss"] * self.of.bits_per_byte
        if answers:
            noted["answers_ended"] = statistics.fmean(said.ended for said in answers)
            noted["answers_looped"] = statistics.fmean(loops(said.text) for said in answers)
        return found, {**noted, "samples": [said.text for said in answers]}

    def _watched(self, on_done: OnDone) -> OnDone:
        def note(count: int) -> None:
            on_done(count)
            self.stop.check()

        self.stop.check()
        return note


@contextmanager
def holding(named: Tensors, values: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Inside, the tensors `named` hold `values`; afterwards what they held before, to the bit."""
    before = {name: tensor.detach().clone() for name, tensor in named.items()}
    try:
        _copy(named, values)
        yield
    finally:
        _copy(named, before)


@torch.no_grad()
def _copy(into: Tensors, values: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in into.items():
        tensor.copy_(values[name])
