"""Numbers for one answer against one reference, from the text alone: overlap, exactness, length, repetition.

Each metric takes `(prediction, reference)` and gives a number, or None where it cannot be scored. A word is a run of
letters, digits and underscores (`\\w+`, any script), lower-cased.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

__all__ = [
    "TEXT_METRICS",
    "TextMetric",
    "distinct_n",
    "exact_match",
    "length_matched",
    "length_ratio",
    "looks_cut",
    "num_words",
    "rouge_l",
    "trim_words",
    "word_overlap",
    "words",
]

_WORD = re.compile(r"\w+")
_ENDED = re.compile(r"[.!?…。！？｡][\"'”’»›)\]}）」』】*_`]*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMetric:
    """A metric on text: `score(prediction, reference)`, in `unit`. `label`: its name in reports.

    `higher_is_better` is None where neither direction is better.
    """

    name: str
    label: str
    score: Callable[[str, str], float | None]
    higher_is_better: bool | None
    unit: str
    description: str

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value that there can be."""
        return (0.0, 1.0) if self.unit == "share" else (0.0, math.inf)


def words(text: str) -> list[str]:
    """The words of a text, lower-cased, in order."""
    return _WORD.findall(text.lower())


def num_words(text: str) -> int:
    """How many words a text has."""
    return len(words(text))


def word_overlap(prediction: str, reference: str) -> float:
    """Jaccard overlap of the two sets of words, 0 to 1: shared words over all words. Two texts without words: 1."""
    a, b = set(words(prediction)), set(words(reference))
    return len(a & b) / len(a | b) if a or b else 1.0


class _Words:
    """What the ROUGE library asks for words: ours, of any script; its own are the letters a to z and digits alone."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


@lru_cache(maxsize=1)
def _rouge() -> Any:
    from rouge_score import rouge_scorer  # brings nltk along: half a second that only a scorer should pay

    return rouge_scorer.RougeScorer(["rougeL"], tokenizer=_Words())


def rouge_l(prediction: str, reference: str) -> float | None:
    """ROUGE-L F-measure, 0 to 1, as the `rouge-score` library computes it from our words (no stemming).

    A reference without words is unscored (None).
    """
    if not num_words(reference):
        return None
    return float(_rouge().score(reference, prediction)["rougeL"].fmeasure)


def exact_match(prediction: str, reference: str) -> float:
    """1 if both texts are the same but for white space at the ends, else 0."""
    return float(prediction.strip() == reference.strip())


def length_ratio(prediction: str, reference: str) -> float | None:
    """Words of the answer over words of the reference; None if the reference has no words."""
    total = num_words(reference)
    return num_words(prediction) / total if total else None


def distinct_n(text: str, n: int = 3) -> float | None:
    """Share of the runs of `n` words that are different from each other, 0 to 1; None below `n` words.

    1 means no run comes twice, near 0 that the text goes round in circles (Li et al. 2016, "A Diversity-Promoting
    Objective Function", § 5: distinct-n, here within one text).
    """
    found = words(text)
    runs = list(zip(*(found[i:] for i in range(n)), strict=False))
    return len(set(runs)) / len(runs) if runs else None


def trim_words(text: str, count: int) -> str:
    """The text up to the end of its word number `count`, white space kept; whole if it has no more words than that."""
    if count <= 0:
        return "" if num_words(text) > 0 else text
    for number, match in enumerate(_WORD.finditer(text), 1):
        if number == count:
            rest = text[match.end() :]
            return text[: match.end()] if _WORD.search(rest) else text
    return text


def length_matched(a: str, b: str, reference: str) -> tuple[str, str]:
    """Both answers, the longer one trimmed to the reference's word count; equally long ones are both trimmed.

    What an answer gains by running on past the reference is gone afterwards; the two are not of one length, for an answer no
    longer than the reference stays as it is.
    """
    limit, words_a, words_b = num_words(reference), num_words(a), num_words(b)
    return (
        trim_words(a, limit) if words_a >= words_b else a,
        trim_words(b, limit) if words_b >= words_a else b,
    )


def looks_cut(text: str) -> bool:
    """True if the text does not end in a full stop, `!`, `?`, `…` (or their CJK forms), closing quotes and brackets aside."""
    return _ENDED.search(text.rstrip()) is None


def _distinct_3(prediction: str, reference: str) -> float | None:
    return distinct_n(prediction, 3)


def _answer_words(prediction: str, reference: str) -> float:
    return float(num_words(prediction))


_ALL = (
    TextMetric(
        name="word_overlap",
        label="word overlap",
        score=word_overlap,
        higher_is_better=True,
        unit="share",
        description="Words that answer and reference share, divided by all words that occur in either.",
    ),
    TextMetric(
        name="rouge_l",
        label="ROUGE-L",
        score=rouge_l,
        higher_is_better=True,
        unit="share",
        description="Words that answer and reference have in the same order, gaps allowed (ROUGE-L, F-measure).",
    ),
    TextMetric(
        name="exact_match",
        label="exact match",
        score=exact_match,
        higher_is_better=True,
        unit="share",
        description="Share of answers equal to the reference, apart from white space at the ends.",
    ),
    TextMetric(
        name="length_ratio",
        label="length ratio",
        score=length_ratio,
        higher_is_better=None,
        unit="×",
        description="Words of the answer divided by words of the reference; 1 is the same length.",
    ),
    TextMetric(
        name="answer_words",
        label="answer words",
        score=_answer_words,
        higher_is_better=None,
        unit="words",
        description="Number of words in the answer.",
    ),
    TextMetric(
        name="distinct_3",
        label="distinct 3-word runs",
        score=_distinct_3,
        higher_is_better=None,
        unit="share",
        description="Share of distinct three-word sequences in the answer; a low share means that the answer repeats itself.",
    ),
)
TEXT_METRICS: Mapping[str, TextMetric] = MappingProxyType({metric.name: metric for metric in _ALL})
