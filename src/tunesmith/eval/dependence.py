"""Do answers depend on the question? Compared without references: sampled answers to one question with those to others.

Answers to one question share its subject, so they resemble each other more than answers to different questions do. One
sentence for everything, random words and a bag of frequent words do not. It has far more power than a comparison with the
references, which say little about an answer in free text (docs/log.md).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from tunesmith.core.records import Generation
from tunesmith.eval.metrics.text import words
from tunesmith.eval.results import Item

__all__ = ["dependence", "one_answer"]

_Bag = dict[str, float]


def dependence(generations: Sequence[Generation], items: Sequence[Item]) -> list[float | None]:
    """For each item: similarity among its own answers, less that with the answers to items of other documents.

    Similarity is the cosine of binary TF-IDF vectors of words, idf over all answers of the system. None for an item with fewer
    than two answers, or if there is only one document.
    """
    texts: dict[str, list[set[str]]] = {}
    for one in generations:
        texts.setdefault(one.item_id, []).append(set(words(one.text)))
    every = [bag for bags in texts.values() for bag in bags]
    frequency = Counter(word for bag in every for word in bag)
    weight = {word: math.log((len(every) + 1) / (count + 0.5)) for word, count in frequency.items()}
    vectors = {id: [_unit(bag, weight) for bag in bags] for id, bags in texts.items()}
    groups = {item.id: item.group for item in items}
    sums: dict[str, _Bag] = {}  # of the vectors of each document: the mean similarity with many is that with their sum
    counts: Counter[str] = Counter()
    for id, bags in vectors.items():
        counts[groups[id]] += len(bags)
        for vector in bags:
            _add(sums.setdefault(groups[id], {}), vector)
    total: _Bag = {}
    for part in sums.values():
        _add(total, part)
    found: list[float | None] = []
    for item in items:
        own = vectors.get(item.id, [])
        num_others = sum(counts.values()) - counts[item.group]
        if len(own) < 2 or num_others == 0:
            found.append(None)
            continue
        pairs = [_dot(a, b) for n, a in enumerate(own) for b in own[n + 1 :]]
        others = [(_dot(a, total) - _dot(a, sums[item.group])) / num_others for a in own]
        found.append(math.fsum(pairs) / len(pairs) - math.fsum(others) / len(others))
    return found


def one_answer(generations: Sequence[Generation], items: Sequence[Item]) -> list[float | None]:
    """For each item: of the answers to other questions with another reference, the share that has the same words as its own.

    1 for a model that gives one answer to everything, however often that answer is the right one; 0 for a model that is always
    right. Several answers of one item are averaged. None for an item without an answer of words, or if no question has another
    reference.
    """
    of = {item.id: (" ".join(words(item.reference)), item.question) for item in items}
    said = [(one.item_id, " ".join(words(one.text)), *of[one.item_id]) for one in generations if words(one.text)]
    counts: Counter[tuple[str | None, ...]] = Counter()
    for _, text, right, question in said:
        keys = {(a, b, c) for a in (text, None) for b in (right, None) for c in (question, None)}
        counts.update(keys)

    def others(text: str | None, right: str, question: str) -> int:
        """How many answers, of this text if it is given, belong to another reference and another question."""
        same = counts[text, right, None] + counts[text, None, question] - counts[text, right, question]
        return counts[text, None, None] - same

    shares: dict[str, list[float]] = {}
    for id, text, right, question in said:
        if total := others(None, right, question):
            shares.setdefault(id, []).append(others(text, right, question) / total)
    return [math.fsum(shares[item.id]) / len(shares[item.id]) if item.id in shares else None for item in items]


def _unit(bag: set[str], weight: dict[str, float]) -> _Bag:
    length = math.sqrt(math.fsum(weight[word] ** 2 for word in sorted(bag)))
    return {word: weight[word] / length for word in sorted(bag)} if length else {}


def _add(total: _Bag, part: _Bag) -> None:
    for word, value in part.items():
        total[word] = total.get(word, 0.0) + value


def _dot(a: _Bag, b: _Bag) -> float:
    return math.fsum(value * b[word] for word, value in a.items() if word in b)
