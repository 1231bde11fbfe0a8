"""Which pairs a person should label next, so that the corrected win rate becomes precise soonest.

Pairs are drawn at random within strata (the two systems; whether the verdict depends on the order), so the estimate of
`eval.judge.corrected`, which weighs the same strata, stays without bias. How many come from each is Neyman's allocation
(1934, JRSS 97): in proportion to the stratum's size and the spread of people's labels around the judge's verdicts in it.
Choosing the least certain pairs one by one instead would make the labelled ones unlike the others.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.eval.judge.corrected import LEAST_OF_A_STRATUM, predicted, stratum
from tunesmith.eval.judge.rows import JudgedPair, points

__all__ = ["NextLabel", "next_labels"]

_EXPECTED = {"same": 0.3, "changed": 0.5, "one order": 0.4, "no verdict": 0.5}  # spread of a stratum without labels
_BECAUSE = {
    "same": "the judge says the same in both orders",
    "changed": "the verdict depends on the order",
    "one order": "judged in one order",
    "no verdict": "the judge gave no verdict",
}
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLabel:
    """A pair to label, and to which kind it belongs."""

    id: str
    because: str


def next_labels(pairs: Sequence[JudgedPair], count: int, *, seed: int = 7) -> list[NextLabel]:
    """Up to `count` pairs without a label, most useful kinds first, drawn with `seed`; fewer if fewer are there."""
    of: dict[_Key, list[JudgedPair]] = defaultdict(list)
    for pair in pairs:
        names = sorted((pair.system_a or "a", pair.system_b or "b"))
        of[(names[0], names[1], stratum(pair))].append(pair)
    numbers = _allocated(of, count)
    chance = random.Random(seed)
    chosen: list[NextLabel] = []
    for key in sorted(numbers, key=lambda key: (-numbers[key], key)):
        free = sorted(pair.id for pair in of[key] if pair.human is None)
        drawn = chance.sample(free, numbers[key])
        chosen += [NextLabel(id=id, because=_BECAUSE[key[2]]) for id in drawn]
    return chosen


def _allocated(of: dict[_Key, list[JudgedPair]], count: int) -> dict[_Key, int]:
    """How many from each stratum: one at a time, always where it is missing most against Neyman's share."""
    have = {key: sum(pair.human is not None for pair in rows) for key, rows in of.items()}
    free = {key: len(rows) - have[key] for key, rows in of.items()}
    worth = {key: len(rows) * _spread(key, rows) for key, rows in of.items()}
    given = dict.fromkeys(of, 0)
    for _ in range(min(count, sum(free.values()))):
        open_ = [key for key in of if given[key] < free[key]]
        few = [key for key in open_ if have[key] + given[key] < LEAST_OF_A_STRATUM]
        best = max(few or open_, key=lambda key: (worth[key] / (have[key] + given[key] + 0.5), key))
        given[best] += 1
    return {key: number for key, number in given.items() if number}


def _spread(key: _Key, rows: Sequence[JudgedPair]) -> float:
    """Of people's labels around the verdicts, with two imagined pairs of the usual spread: three labels do not decide."""
    squares = [(points(pair.human) - predicted(pair)) ** 2 for pair in rows if pair.human is not None]
    return math.sqrt((sum(squares) + 2 * _EXPECTED[key[2]] ** 2) / (len(squares) + 2))
