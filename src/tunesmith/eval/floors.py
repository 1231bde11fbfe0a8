"""Floors: what trivial answers would score, so that a metric's zero is known. No model is asked.

Three of them: the reference of another document, the prompt handed back, and the training answer nearest to the prompt.
A system that does not beat the last may only be reciting.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from tunesmith.core.records import Example
from tunesmith.eval.metrics.text import words
from tunesmith.eval.results import Item

__all__ = ["FLOORS", "floor_answers", "nearest_answers", "nearest_rows", "random_references"]

FLOORS: Mapping[str, str] = MappingProxyType(
    {
        "random_reference": "The reference of another document, chosen at random.",
        "prompt_echo": "The prompt, repeated as the answer.",
        "nearest_training_answer": "The training answer that shares the rarest words with the prompt.",
    }
)


def floor_answers(items: Sequence[Item], train_answers: Sequence[str], *, seed: int = 7) -> dict[str, list[str | None]]:
    """An answer of each floor for each item, in the order of `items`; None where there is none to give."""
    return {
        "random_reference": random_references(items, seed=seed),
        "prompt_echo": [item.question for item in items],
        "nearest_training_answer": nearest_answers([item.question for item in items], train_answers),
    }


def random_references(items: Sequence[Item], *, seed: int = 7) -> list[str | None]:
    """For each item the reference of an item from another document, seeded; None if there is only one document."""
    rng = np.random.default_rng([seed, len(items)])
    found: list[str | None] = []
    for item in items:
        others = [other.reference for other in items if other.group != item.group]
        found.append(others[int(rng.integers(len(others)))] if others else None)
    return found


def nearest_answers(prompts: Sequence[str], answers: Sequence[str]) -> list[str | None]:
    """For each prompt the answer of highest TF-IDF cosine (binary counts, idf over `answers`); the first of equals.

    None without answers, or where no answer shares a word with the prompt.
    """
    return [None if at is None else answers[at] for at in _nearest_of(prompts, answers)]


def nearest_rows(prompts: Sequence[str], rows: Sequence[Example], *, most: int) -> list[Example]:
    """The rows whose answers are nearest to the prompts, each once, in the order of the prompts; `most` at most."""
    found = [at for at in _nearest_of(prompts, [row.answer for row in rows]) if at is not None]
    return [rows[at] for at in dict.fromkeys(found)][:most]


def _nearest_of(prompts: Sequence[str], answers: Sequence[str]) -> list[int | None]:
    bags = [set(words(answer)) for answer in answers]
    frequency = Counter(word for bag in bags for word in bag)
    square = {word: math.log((1 + len(bags)) / (1 + count)) ** 2 + 1e-9 for word, count in frequency.items()}
    lengths = [math.sqrt(sum(square[word] for word in sorted(bag))) for bag in bags]
    postings: dict[str, list[int]] = defaultdict(list)
    for number, bag in enumerate(bags):
        for word in bag:
            postings[word].append(number)
    return [_nearest(prompt, lengths, postings, square.__getitem__) for prompt in prompts]


def _nearest(
    prompt: str,
    lengths: Sequence[float],
    postings: Mapping[str, Sequence[int]],
    square: Callable[[str], float],
) -> int | None:
    shared: dict[int, float] = defaultdict(float)
    for word in sorted(set(words(prompt))):
        if word in postings:
            for number in postings[word]:
                shared[number] += square(word)
    if not shared:
        return None
    return min(shared, key=lambda number: (-shared[number] / lengths[number], number))
