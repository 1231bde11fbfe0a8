"""Texts with known Jaccard indices, and the plain form of every definition that the fast code must agree with."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tunesmith.data.similar.shingles import words_of

__all__ = ["brute_pairs", "exact_jaccard", "prose", "runs", "with_changes"]

_WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "st", "lo", "mi")]


def prose(seed: int, length: int) -> str:
    """So many words, drawn from a small vocabulary as people's words are."""
    draw = random.Random(seed)
    return " ".join(draw.choices(_WORDS, k=length))


def with_changes(text: str, count: int, seed: int) -> str:
    """The text with so many words replaced, anywhere."""
    draw, said = random.Random(seed), text.split()
    for place in draw.sample(range(len(said)), count):
        said[place] = f"changed{draw.randrange(10**6)}"
    return " ".join(said)


def runs(text: str) -> set[tuple[str, ...]]:
    """The five-word runs of a text, or the whole of a shorter one."""
    said = words_of(text)
    return {tuple(said[i : i + 5]) for i in range(max(1, len(said) - 4))} if said else set()


def exact_jaccard(first: str, second: str) -> float:
    """Shared five-word runs over all, from the words themselves, without a hash."""
    a, b = runs(first), runs(second)
    return len(a & b) / len(a | b) if a | b else float(first.split() == second.split())


def brute_pairs(texts: Sequence[str], threshold: float) -> set[tuple[int, int]]:
    """All pairs at or above the threshold, each text against each."""
    sets = [runs(text) for text in texts]

    def similarity(i: int, j: int) -> float:
        shared = len(sets[i] & sets[j])
        return shared / (len(sets[i]) + len(sets[j]) - shared) if shared else float(texts[i].split() == texts[j].split())

    return {(i, j) for j in range(len(texts)) for i in range(j) if similarity(i, j) >= threshold}
