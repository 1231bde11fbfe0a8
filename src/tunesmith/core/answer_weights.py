"""How much each answer of a conversation counts in the loss, kept as a column beside its messages.

Rows give it as `weight` of a turn, as in the formats of OpenAI and axolotl. Most rows have none, and then there is no column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

__all__ = ["answer_weights", "as_column", "number_in"]

_COLUMN = "answer_weights"


def as_column(weights: Sequence[float]) -> dict[str, str]:
    """The column for the weights of a conversation's answers, in order; none if each counts 1."""
    return {} if all(weight == 1 for weight in weights) else {_COLUMN: " ".join(f"{weight:g}" for weight in weights)}


def answer_weights(columns: Mapping[str, str], num_answers: int) -> tuple[float, ...]:
    """The weight of each answer, in order: 1 without the column. ValueError for a column that does not fit the answers."""
    given = columns.get(_COLUMN)
    if given is None:
        return (1.0,) * num_answers
    weights = tuple(number_in(part) for part in given.split())
    if len(weights) != num_answers:
        raise ValueError(f"{len(weights)} weights for {num_answers} answers")
    return weights


def number_in(text: str) -> float:
    """A weight: a finite number, 0 or more. ValueError for anything else."""
    number = float(text)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{text[:40]} is not a weight")
    return number
