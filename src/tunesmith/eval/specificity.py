"""Specificity: what an answer's score owes to its own question.

An answer is scored against its own reference, and against references of other documents; the difference is its specificity. Any
answer that does not depend on the question (one constant text, a bag of frequent words, a recital) has a mean of about zero in
any metric, however high its score is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["specificity"]


def specificity(
    texts: Sequence[str],
    references: Sequence[str],
    groups: Sequence[str],
    score: Callable[[str, str], float | None],
    *,
    sample: int = 20,
    seed: int = 7,
) -> list[float | None]:
    """score(text, own reference) − mean score(text, reference of another document), one value per item, in order.

    Up to `sample` other references are drawn for each item, seeded, without repetition: a document first, then one of its
    items, so that large documents do not decide. None where the own score or all others are unscored, or where there is only
    one document.
    """
    members: dict[str, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    rng = np.random.default_rng([seed, len(texts), sample])
    known: dict[tuple[str, str], float | None] = {}

    def scored(text: str, reference: str) -> float | None:
        if (text, reference) not in known:
            known[text, reference] = score(text, reference)
        return known[text, reference]

    found: list[float | None] = []
    for text, reference, group in zip(texts, references, groups, strict=True):
        own = scored(text, reference)
        others = [value for i in _others(members, group, sample, rng) if (value := scored(text, references[i])) is not None]
        found.append(None if own is None or not others else own - math.fsum(others) / len(others))
    return found


def _others(members: dict[str, list[int]], group: str, sample: int, rng: np.random.Generator) -> list[int]:
    """Positions of up to `sample` items of other documents: one of each in random order, then a second one of each, …"""
    shuffled = [rng.permutation(members[other]).tolist() for other in rng.permutation([g for g in members if g != group])]
    chosen: list[int] = []
    for rank in range(max(map(len, shuffled), default=0)):
        for items in shuffled:
            if rank < len(items) and len(chosen) < sample:
                chosen.append(int(items[rank]))
    return chosen
