"""Whether questions belong to their answers: how often each is recognised, by words, vectors or a model."""

from __future__ import annotations

import functools
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.proportion import wilson
from tunesmith.core.records import Example
from tunesmith.data.text.lexicon import STOP_WORDS
from tunesmith.data.text.words import fold, stem, words

__all__ = ["BY_WORDS", "EmbeddingScore", "Fit", "Score", "WordScore", "last_question", "measure_fit", "wrong_questions"]

Score = Callable[[str, Sequence[str]], Sequence[float]]
"""How well each of several questions suits an answer: one number a question, the higher the better."""

NUM_WRONG = 4
BY_WORDS = "tf-idf cosine of word stems"


@dataclass(frozen=True, slots=True)
class Fit:
    """`right` of `n` questions were scored above `num_wrong` questions of other documents for their own answer; ties are not.

    `method`: what scored. Chance is 1 / (1 + num_wrong). `failed`: the ids of the other rows.
    """

    right: int
    n: int
    num_wrong: int
    method: str
    failed: tuple[str, ...] = ()

    @property
    def share(self) -> float | None:
        """The share recognised, or None where there was nothing to compare with."""
        return self.right / self.n if self.n else None

    def report(self) -> dict[str, Any]:
        """As report.json holds it, with the 95 % interval (Wilson)."""
        interval = list(wilson(self.right / self.n, self.n)) if self.n else None
        return {
            "right": self.right,
            "n": self.n,
            "share": self.share,
            "interval": interval,
            "chance": 1 / (1 + self.num_wrong),
            "num_wrong": self.num_wrong,
            "method": self.method,
            "failed": list(self.failed),
        }


def measure_fit(
    rows: Sequence[Example],
    score: Score,
    *,
    method: str,
    seed: int = 7,
    num_wrong: int = NUM_WRONG,
    only: Sequence[int] | None = None,
) -> Fit:
    """How often `score` recognises the question of a row among those of `num_wrong` rows of other documents, drawn with `seed`.

    Rows without that many others are not counted. `only`: positions of the rows to measure; the others lend their questions.
    """
    questions = [last_question(row) for row in rows]
    groups = [row.group for row in rows]
    right, n = 0, 0
    failed = []
    for number in range(len(rows)) if only is None else only:
        row = rows[number]
        wrong = wrong_questions(number, questions, groups, seed=f"{seed}:{row.id}", num_wrong=num_wrong)
        if len(wrong) < num_wrong:
            continue
        scores = score(row.answer, [questions[number], *wrong])
        n += 1
        if scores[0] > max(scores[1:]):
            right += 1
        else:
            failed.append(row.id)
    return Fit(right, n, num_wrong, method, tuple(failed))


def last_question(row: Example) -> str:
    """What the user asks last before the answer."""
    return next((message.content for message in reversed(row.prompt) if message.role == "user"), "")


def wrong_questions(
    number: int, questions: Sequence[str], groups: Sequence[str], *, seed: str, num_wrong: int = NUM_WRONG
) -> list[str]:
    """Up to `num_wrong` different questions of rows that are of other groups than row `number`."""
    draw = random.Random(seed)
    found: list[str] = []
    for _ in range(20 * num_wrong):
        other = draw.randrange(len(questions))
        question = questions[other]
        if groups[other] != groups[number] and question not in found and question != questions[number]:
            found.append(question)
        if len(found) == num_wrong:
            break
    return found


class WordScore:
    """Scores questions by the words that they share with the answer: cosine of tf-idf weights of stems, stop words left out.

    What is rare in `answers` weighs most. No model is needed; a paraphrase is not recognised.
    """

    def __init__(self, answers: Sequence[str]) -> None:
        counts: Counter[str] = Counter()
        for answer in answers:
            counts.update(set(_stems(answer)))
        self._weights = {word: math.log((1 + len(answers)) / (1 + count)) for word, count in counts.items()}
        self._vector = functools.lru_cache(maxsize=4096)(self._weighted)

    def __call__(self, answer: str, questions: Sequence[str]) -> list[float]:
        said = self._vector(answer)
        return [_dot(said, self._vector(question)) for question in questions]

    def _weighted(self, text: str) -> Mapping[str, float]:
        """Weights of length 1. Words that no answer has count for nothing: they cannot tell answers apart."""
        found = {word: count * self._weights.get(word, 0.0) for word, count in Counter(_stems(text)).items()}
        length = math.sqrt(sum(weight * weight for weight in found.values()))
        return {word: weight / length for word, weight in found.items()} if length else {}


class EmbeddingScore:
    """Scores questions by the cosine of their vectors with that of the answer; `encode` gives vectors of length 1.

    A paraphrase is recognised. Each text is encoded once.
    """

    def __init__(self, encode: Callable[[Sequence[str]], NDArray[np.float32]]) -> None:
        self._encode = encode
        self._known: dict[str, NDArray[np.float32]] = {}

    def __call__(self, answer: str, questions: Sequence[str]) -> list[float]:
        new = [text for text in dict.fromkeys((answer, *questions)) if text not in self._known]
        self._known.update(zip(new, self._encode(new), strict=True))
        return [float(self._known[answer] @ self._known[question]) for question in questions]


def _dot(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    return sum(weight * one.get(word, 0.0) for word, weight in other.items())


def _stems(text: str) -> list[str]:
    return [found for word in words(text) if (found := _stem(word))]


@functools.lru_cache(maxsize=200_000)
def _stem(word: str) -> str:
    folded = fold(word)
    return "" if folded in STOP_WORDS else stem(folded)
