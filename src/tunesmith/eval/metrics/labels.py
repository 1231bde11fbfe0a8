"""Classification: which label an answer gives, and how often it is the right one, over all and by class.

The label of an answer is found as `read_label` says. An answer without one is wrong, and is counted apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tunesmith.eval.metrics.metric import CorpusScore, Expected, Metric, Unscored
from tunesmith.eval.metrics.questions import normalized

__all__ = ["METRICS", "ClassScore", "Confusion", "class_scores", "confusion", "macro_f1", "read_label"]


class _Pair(NamedTuple):
    right: str
    given: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """One class. `support` references have it, `predicted` answers give it, `correct` are both. Without any of them the share
    is None; F1 is 0 for a class with references that no answer finds."""

    label: str
    support: int
    predicted: int
    correct: int

    @property
    def precision(self) -> float | None:
        """Share of the answers with this label that are right."""
        return self.correct / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Share of the references with this label that were found."""
        return self.correct / self.support if self.support else None

    @property
    def f1(self) -> float | None:
        """2 · correct / (support + predicted)."""
        return 2 * self.correct / (self.support + self.predicted) if self.support + self.predicted else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How often each right label (row) got each label (column). The last column: answers that give no label."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def read_label(answer: str, labels: Sequence[str]) -> str | None:
    """The label that an answer gives: the one that it equals, else the only one that it contains as a word; else None.

    Case, punctuation and articles do not count. A label inside a longer one that is there too is not counted ("spam" in "not
    spam").
    """
    said, of = normalized(answer), {normalized(label): label for label in labels}
    if said in of:
        return of[said]
    rest, found = f" {said} ", set()
    for plain in sorted(of, key=len, reverse=True):
        if plain and re.search(rf"\b{re.escape(plain)}\b", rest):
            found.add(of[plain])
            rest = re.sub(rf"\b{re.escape(plain)}\b", " ", rest)
    return found.pop() if len(found) == 1 else None


def confusion(answers: Sequence[str], expected: Sequence[Expected]) -> Confusion:
    """Right labels against given ones, sorted by label. The right label is the first reference."""
    pairs = _pairs(answers, expected)
    labels = tuple(sorted({pair.right for pair in pairs} | {pair.given for pair in pairs if pair.given is not None}))
    columns = (*labels, None)
    counted = Counter(pairs)
    counts = tuple(tuple(counted[_Pair(row, column)] for column in columns) for row in labels)
    return Confusion(labels=labels, counts=counts)


def class_scores(answers: Sequence[str], expected: Sequence[Expected]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of every label that a reference or an answer has, sorted by label."""
    return _by_class(_pairs(answers, expected))


def macro_f1(pairs: Sequence[_Pair]) -> float | None:
    """Mean F1 over the classes that occur in the references; None without any."""
    found = [score.f1 for score in _by_class(pairs) if score.support]
    return sum(value for value in found if value is not None) / len(found) if found else None


def _by_class(pairs: Sequence[_Pair]) -> tuple[ClassScore, ...]:
    counts = Counter(pairs)
    support: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    for pair, count in counts.items():
        support[pair.right] += count
        if pair.given is not None:
            predicted[pair.given] += count
    return tuple(
        ClassScore(label=label, support=support[label], predicted=predicted[label], correct=counts[_Pair(label, label)])
        for label in sorted(support.keys() | predicted.keys())
    )


def _pairs(answers: Sequence[str], expected: Sequence[Expected]) -> list[_Pair]:
    """Right and given label. The labels to choose from are those of all items together, first seen spelling."""
    known: dict[str, str] = {}
    for one in expected:
        for label in (*one.labels, *one.references[:1]):
            known.setdefault(normalized(label), label.strip())
    labels = list(known.values())
    return [
        _Pair(known[normalized(one.references[0])], read_label(answer, labels))
        for answer, one in zip(answers, expected, strict=True)
    ]


def _accuracy(answers: Sequence[str], expected: Sequence[Expected]) -> list[float | Unscored]:
    return [float(pair.right == pair.given) for pair in _pairs(answers, expected)]


def _no_label(answers: Sequence[str], expected: Sequence[Expected]) -> list[float | Unscored]:
    return [float(pair.given is None) for pair in _pairs(answers, expected)]


def _corpus(answers: Sequence[str], expected: Sequence[Expected]) -> CorpusScore:
    return CorpusScore(parts=tuple(_pairs(answers, expected)), value=macro_f1)


METRICS = (
    Metric(
        name="accuracy",
        label="accuracy",
        task="labels",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=True,
        measures="Share of answers that give the right label; an answer with no label, or with several, is wrong.",
        misses="rare classes: if nine of ten items have one label, always giving that one scores 90 %.",
        score=_accuracy,
    ),
    Metric(
        name="macro_f1",
        label="macro-F1",
        task="labels",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=True,
        measures="F1 of each class that occurs in the references, averaged with the same weight for each.",
        misses="how common the classes are: a class with three items weighs as much as one with three hundred.",
        corpus=_corpus,
    ),
    Metric(
        name="no_label",
        label="no label",
        task="labels",
        unit="share",
        bounds=(0.0, 1.0),
        higher_is_better=False,
        measures="Share of answers that give no label, or several.",
        misses="whether the label that was given is right.",
        score=_no_label,
    ),
)
