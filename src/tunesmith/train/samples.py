"""Answers that a model gave while it was trained, with their rewards: what a method that samples makes its units from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.core.records import Example
from tunesmith.models.chat import Encoded

__all__ = ["Group", "Sample", "token_counts"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer. `ids` include the end token if the model wrote one (`ended`); otherwise the answer was cut at its limit.

    `rewards`: one number for each reward of the recipe, in its order. `reward`: their weighted sum, which is learned from.
    """

    ids: tuple[int, ...]
    text: str
    ended: bool
    rewards: tuple[float, ...] = ()
    reward: float = 0.0


@dataclass(frozen=True, slots=True)
class Group:
    """The answers to one prompt. `prompt`: its token ids, as generation was given them."""

    example: Example
    prompt: tuple[int, ...]
    samples: tuple[Sample, ...]

    @property
    def rows(self) -> tuple[Encoded, ...]:
        """A row for each answer, in which the whole answer is learned; in a token tree they share their prompt."""
        before = (False,) * len(self.prompt)
        return tuple(Encoded((*self.prompt, *s.ids), (*before, *(True,) * len(s.ids))) for s in self.samples)


def token_counts(rows: Sequence[Encoded]) -> list[int]:
    """Target tokens of each row; nothing predicts its first token."""
    return [sum(row.learned[1:]) for row in rows]
