"""Floors: what trivial answers would score, so that a metric's zero is known. No model is asked.

A system that does not beat them has shown nothing: neither that it knows the question (a random reference, one constant answer,
a bag of frequent words) nor that it does more than repeat (the prompt, the nearest training answer).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from tunesmith.core.records import Example
from tunesmith.eval.metrics.text import words

__all__ = [
    "FLOORS",
    "constant_answers",
    "floor_answers",
    "frequent_words",
    "nearest_answers",
    "nearest_rows",
    "random_references",
]

FLOORS: Mapping[str, str] = MappingProxyType(
    {
        "random_reference": "The reference of another document, chosen at random.",
        "prompt_echo": "The prompt, repeated as the answer.",
        "constant_answer": "One and the same answer to everything: the most frequent one, or the most typical one.",
        "frequent_words": "The most frequent words of the answers, as many as overlap best, and nothing else.",
        "nearest_training_answer": "The training answer that shares the rarest words with the prompt.",
    }
)
_MOST_COMPARED = 200  # answers among which the most typical one is looked for: 20,000 pairs, a fifth of a second
_BAG_SIZES: tuple[int, ...] = (*range(1, 20), *range(20, 60, 5), *range(60, 140, 10), *range(140, 301, 20))


def floor_answers(
    questions: Sequence[str],
    references: Sequence[str],
    groups: Sequence[str],
    train_answers: Sequence[str] | None,
    *,
    seed: int = 7,
) -> dict[str, list[str | None]]:
    """An answer of each floor for each item, in order; None where there is none to give. `groups`: the items' documents.

    Constant answer and frequent words come from `train_answers`, which then must not be empty to give any. Without training
    answers (None) they come from the references of the other documents, and the nearest training answer is left out.
    """
    found: dict[str, list[str | None]] = {
        "random_reference": random_references(references, groups, seed=seed),
        "prompt_echo": list(questions),
    }
    if train_answers is None:
        found["constant_answer"] = constant_answers(references, groups, groups)
        found["frequent_words"] = frequent_words(references, groups, groups)
        return found
    apart = [f"train {number}" for number in range(len(train_answers))]  # no item is of the document of a training answer
    found["constant_answer"] = constant_answers(train_answers, apart, groups)
    found["frequent_words"] = frequent_words(train_answers, apart, groups)
    found["nearest_training_answer"] = nearest_answers(questions, train_answers)
    return found


def random_references(references: Sequence[str], groups: Sequence[str], *, seed: int = 7) -> list[str | None]:
    """For each item the reference of an item from another document, seeded; None if there is only one document."""
    rng = np.random.default_rng([seed, len(references)])
    found: list[str | None] = []
    for group in groups:
        others = [reference for reference, other in zip(references, groups, strict=True) if other != group]
        found.append(others[int(rng.integers(len(others)))] if others else None)
    return found


def constant_answers(answers: Sequence[str], documents: Sequence[str], groups: Sequence[str]) -> list[str | None]:
    """For each of `groups` the best constant answer: the one that most documents have, else the most typical one.

    The most typical one has the highest mean word overlap with the answers of other documents (of 200, evenly taken). An answer
    that only the item's own document has is not given to that item.
    """
    having: dict[str, set[str]] = defaultdict(set)
    for answer, document in zip(answers, documents, strict=True):
        if answer.strip():
            having[answer].add(document)
    common = max(having, key=lambda answer: len(having[answer]), default=None)
    if common is None:
        return [None] * len(groups)
    if len(having[common]) > 1:
        return [common] * len(groups)
    ranked = _by_typicality(list(having))
    return [next((answer for answer in ranked if having[answer] != {group}), None) for group in groups]


def _by_typicality(answers: Sequence[str]) -> list[str]:
    """Answers by falling mean word overlap with the others; of many, a part that is spread evenly."""
    step = max(1, math.ceil(len(answers) / _MOST_COMPARED))
    chosen = answers[::step]
    bags = [set(words(answer)) for answer in chosen]
    totals = [sum(_overlap(bag, other) for other in bags) for bag in bags]
    return [chosen[i] for i in sorted(range(len(chosen)), key=lambda i: (-totals[i], i))]


def _overlap(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b) if a or b else 0.0


def frequent_words(answers: Sequence[str], documents: Sequence[str], groups: Sequence[str]) -> list[str | None]:
    """For each of `groups` a bag of the words that most answers of other documents have, the most frequent first.

    The bag has the size, up to 300 words, whose mean word overlap with the answers is greatest.
    """
    bags = [set(words(answer)) for answer in answers]
    total = Counter(word for bag in bags for word in bag)
    if not total:
        return [None] * len(groups)
    size = _best_size(_most(total, max(_BAG_SIZES)), bags[:: max(1, math.ceil(len(bags) / _MOST_COMPARED))])
    own: dict[str, Counter[str]] = defaultdict(Counter)
    for bag, document in zip(bags, documents, strict=True):
        own[document].update(bag)
    texts = {group: " ".join(_most(total - own[group] if group in own else total, size)) or None for group in set(groups)}
    return [texts[group] for group in groups]


def _most(counts: Mapping[str, int], size: int) -> list[str]:
    return heapq.nsmallest(size, counts, key=lambda word: (-counts[word], word))


def _best_size(ranked: Sequence[str], bags: Sequence[set[str]]) -> int:
    return max(_BAG_SIZES, key=lambda size: sum(_overlap(set(ranked[:size]), bag) for bag in bags))


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
