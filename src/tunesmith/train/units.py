"""Units: what a method learns together. Shuffling, sorting, cutting into parts and halving for want of memory never tear one.

Shapes: R rows of a batch, N target tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from tunesmith.models.chat import Encoded
from tunesmith.train.samples import Sample

__all__ = ["Batch", "Layout", "Unit", "every_row", "rows_of"]


class Layout(Protocol):
    """Rows as a model reads them: a token tree, or padded rows. `row_N` says which row each target token is of."""

    @property
    def num_learned(self) -> int: ...

    @property
    def num_tokens(self) -> int: ...

    @property
    def row_N(self) -> torch.Tensor: ...  # noqa: N802 (the shape is part of the name)

    @property
    def lengths_BT(self) -> torch.Tensor:  # noqa: N802 (the shape is part of the name)
        """The length of the row that each token of the input belongs to, in a shape that broadcasts over the input."""
        ...


@dataclass(frozen=True, slots=True)
class Unit:
    """One encoded row or more; `weight` is what the unit counts in the mean of a step, 0 or more.

    `reference`: numbers of the base, where the method asks for them (log-probabilities of answers, as a rule). `signal`:
    numbers that the unit is learned by, such as a label, a margin, advantages or the weight of each target token.
    `only_scored`: rows that are scored, never learned from. `answers`: what the model answered, one a row, where the rows are
    answers that were drawn from it. `kind`: units of each kind are spread evenly over the batches of an epoch.
    """

    rows: tuple[Encoded, ...]
    weight: float
    reference: tuple[float, ...] = ()
    signal: tuple[float, ...] = ()
    only_scored: tuple[Encoded, ...] = ()
    answers: tuple[Sample, ...] = ()
    kind: str = ""

    @property
    def num_tokens(self) -> int:
        """Tokens of all its rows, those that they share counted in each."""
        return sum(len(row.ids) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole units, and their rows, unit after unit, laid out for the model.

    `idle`: computed so that all processes of a run go through the model equally often, and learned by another one.
    """

    units: tuple[Unit, ...]
    layout: Layout
    idle: bool = False

    @property
    def weight(self) -> float:
        """What the batch counts in the mean of a step."""
        return 0 if self.idle else sum(unit.weight for unit in self.units)

    @property
    def num_learned(self) -> int:
        """Target tokens of all rows."""
        return 0 if self.idle else self.layout.num_learned

    @property
    def num_tokens(self) -> int:
        """Tokens of all rows, padding left out."""
        return 0 if self.idle else self.layout.num_tokens

    def sum_by_row(self, values_N: torch.Tensor) -> torch.Tensor:
        """values_R in float64: the sum over the target tokens of each row. Long rows would lose digits in float32."""
        sums_R = torch.zeros(sum(len(unit.rows) for unit in self.units), dtype=torch.float64, device=values_N.device)
        return sums_R.index_add(0, self.layout.row_N, values_N.double())

    def targets_by_row(self) -> torch.Tensor:
        """How many target tokens each row has: float64, 1 at least."""
        return self.sum_by_row(torch.ones_like(self.layout.row_N)).clamp(min=1)

    def mean_by_row(self, values_N: torch.Tensor) -> torch.Tensor:
        """values_R in float64: the mean over the target tokens of each row."""
        return self.sum_by_row(values_N) / self.targets_by_row()


def every_row(units: Sequence[Unit]) -> list[Encoded]:
    """The rows of all units, and those that are only scored."""
    return [row for unit in units for row in (*unit.rows, *unit.only_scored)]


def rows_of(units: Sequence[Unit]) -> list[Encoded]:
    """The rows of all units, in order."""
    return [row for unit in units for row in unit.rows]
