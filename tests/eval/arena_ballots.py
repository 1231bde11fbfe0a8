"""Votes made from a few letters, for the tests of the arena."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from tunesmith.eval.arena.ballots import Ballot

__all__ = ["ALL", "votes"]

ALL = {frozenset(("base", "tuned")): [f"p{i}" for i in range(100)]}
_SCORES = {"t": 0.0, "b": 1.0, "=": 0.5}


def votes(letters: str, *, left: str = "bt", voter: str = "me", words: Sequence[tuple[int, int]] = ((50, 50),)) -> list[Ballot]:
    """One vote per prompt between base and tuned: `t` for tuned, `b` for base, `=` for a tie. `left`: who was on the left, in
    turn; `words`: the lengths of both answers, in turn."""
    names = {"b": "base", "t": "tuned"}
    return [
        Ballot(
            prompt=f"p{i}",
            a="base",
            b="tuned",
            score=_SCORES[letter],
            left=names[side],
            voter=voter,
            words_a=lengths[0],
            words_b=lengths[1],
        )
        for i, (letter, side, lengths) in enumerate(zip(letters, cycle(left), cycle(words), strict=False))
    ]
