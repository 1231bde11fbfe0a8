"""What statistics need to know of a vote, and the least number of votes that can say anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["LEAST", "Ballot", "first_of_each_prompt"]

LEAST = 6  # decided votes; with five even a unanimous person is no evidence: 2 · 0.5⁵ = 0.0625


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """One vote between the answers of `a` and `b` to `prompt`. `score`: 1 for a, 0 for b, 0.5 for a tie.

    `left` is the system whose answer was shown on the left. `words_a` and `words_b` count the words of the answers. `again`:
    the pair had been shown to this voter before, with the sides swapped; such votes measure consistency and nothing else.
    `document`: what the prompt was made from; prompts of one document resemble each other. `about`: facts about the prompt by
    which slices are made (`eval.slices`).
    """

    prompt: str
    a: str
    b: str
    score: float
    left: str
    voter: str = "me"
    document: str = ""
    words_a: int = 0
    words_b: int = 0
    again: bool = False
    about: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def score_of(self, system: str) -> float:
        """The score from the side of one of the two systems."""
        return self.score if system == self.a else 1.0 - self.score

    def turned(self, system: str) -> Ballot:
        """The same vote with `system` as a."""
        if system == self.a:
            return self
        return replace(self, a=self.b, b=self.a, score=1.0 - self.score, words_a=self.words_b, words_b=self.words_a)


def first_of_each_prompt(ballots: Iterable[Ballot]) -> list[Ballot]:
    """The earliest vote on each prompt, in order: what a rule that is applied after each vote may take as independent."""
    found: dict[str, Ballot] = {}
    for ballot in ballots:
        found.setdefault(ballot.prompt, ballot)
    return list(found.values())
