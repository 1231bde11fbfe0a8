"""Answers that a model gave while it was trained, with their rewards: what a method that samples makes its units from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.core.records import Example
from tunesmith.models.chat import Encoded

__all__ = ["Group", "Sample", "answer_rows", "token_counts"]


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
    """The answers to one prompt. `prompt`: its token ids, as generation was given them. `teacher_prompt`: those of what the
    teacher is shown instead, if it is shown anything else.
    """

    example: Example
    prompt: tuple[int, ...]
    samples: tuple[Sample, ...]
    teacher_prompt: tuple[int, ...] = ()

    @property
    def rows(self) -> tuple[Encoded, ...]:
        """A row for each answer, in which the whole answer is learned; in a token tree they share their prompt."""
        return answer_rows(self.prompt, self.samples)

    @property
    def teacher_rows(self) -> tuple[Encoded, ...]:
        """The same answers after the teacher's prompt: as many target tokens, in the same order."""
        return answer_rows(self.teacher_prompt, self.samples) if self.teacher_prompt else ()


def answer_rows(prompt: Sequence[int], samples: Sequence[Sample]) -> tuple[Encoded, ...]:
    """A row for each answer to a prompt, in which the whole answer is learned."""
    before = (False,) * len(prompt)
    return tuple(Encoded((*prompt, *s.ids), (*before, *(True,) * len(s.ids))) for s in samples)


def token_counts(rows: Sequence[Encoded]) -> list[int]:
    """Target tokens of each row; nothing predicts its first token."""
    return [sum(row.learned[1:]) for row in rows]
