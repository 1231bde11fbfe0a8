"""What a reward is: a finite number for each answer, and an error where it gives none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tunesmith.core.errors import TrainingError
from tunesmith.core.records import Example, Message

__all__ = ["Asked", "Reward", "Rewards"]

_HINT = "correct the reward and type the same command again, or remove it from objective.rewards"


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer to be scored, with what it answers."""

    id: str
    prompt: tuple[Message, ...]
    answer: str
    reference: str
    meta: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, example: Example, answer: str) -> Asked:
        """An answer to the example's prompt; the example's own answer is the reference."""
        return cls(example.id, example.prompt, answer, example.answer, example.meta)


class Reward(Protocol):
    """Numbers for answers. Raises TrainingError where it cannot give them."""

    @property
    def label(self) -> str: ...

    def score(self, asked: Sequence[Asked]) -> list[float]:
        """One number for each answer, in order."""
        ...

    def close(self) -> None:
        """End its process or connections."""
        ...


@dataclass(frozen=True, slots=True)
class Rewards:
    """The rewards of a run with their weights, in the order of the recipe. Those of weight 0 are measured, not trained on."""

    each: tuple[Reward, ...]
    weights: tuple[float, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Their names in logs."""
        return tuple(reward.label for reward in self.each)

    def score(self, asked: Sequence[Asked]) -> list[tuple[float, ...]]:
        """Of each answer, the numbers of all rewards. TrainingError for one that is not a number."""
        columns = [_finite(reward, asked) for reward in self.each]
        return list(zip(*columns, strict=True)) if columns else [()] * len(asked)

    def total(self, numbers: Sequence[float]) -> float:
        """The weighted sum that is learned from."""
        return math.fsum(weight * number for weight, number in zip(self.weights, numbers, strict=True) if weight)

    def close(self) -> None:
        """End their processes and connections."""
        for reward in self.each:
            reward.close()


def _finite(reward: Reward, asked: Sequence[Asked]) -> list[float]:
    found = reward.score(asked)
    if len(found) != len(asked):
        raise TrainingError(
            f"the reward {reward.label} did not score every answer",
            value=f"{len(found)} scores for {len(asked)} answers",
            expected="one number for each answer",
            hint=_HINT,
        )
    for number, one in zip(found, asked, strict=True):
        if not math.isfinite(number):
            raise TrainingError(
                f"the reward {reward.label} gave something that is not a number",
                value=f"{number} for the answer {one.answer[:80]!r} to example {one.id}",
                expected="a finite number for every answer, an empty or broken one too",
                hint=_HINT,
            )
    return found
