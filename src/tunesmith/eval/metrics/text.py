"""Numbers for one answer against one reference, from the text alone: overlap, exactness, length, repetition.

Each function takes `(prediction, reference)` and gives a number, or None where it cannot be scored. A word is a run of
letters, digits and underscores (`\\w+`, any script), lower-cased.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

from tunesmith.eval.metrics.metric import Expected, Metric, Unscored, best_of, each

__all__ = [
    "METRICS",
    "distinct_n",
    "exact_match",
    "length_matched",
    "length_ratio",
    "looks_cut",
    "num_words",
    "rouge_1",
    "rouge_2",
    "rouge_l",
    "trim_words",
    "word_overlap",
    "words",
]

_WORD = re.compile(r"\w+")
_ENDED = re.compile(r"[.!?…。！？｡][\"'”’»›)\]}）」』】*_`]*$")


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


@cache
def _rouge(name: str) -> Any:
    from rouge_score import rouge_scorer  # brings nltk along: half a second that only a scorer should pay

    return rouge_scorer.RougeScorer([name], tokenizer=_Words())


def rouge_1(prediction: str, reference: str) -> float | None:
    """ROUGE-1 F-measure, 0 to 1, as `rouge_l`."""
    return _rouge_f("rouge1", prediction, reference)


def rouge_2(prediction: str, reference: str) -> float | None:
    """ROUGE-2 F-measure, 0 to 1, as `rouge_l`; None below two words in the reference."""
    return _rouge_f("rouge2", prediction, reference) if num_words(reference) > 1 else None


def rouge_l(prediction: str, reference: str) -> float | None:
    """ROUGE-L F-measure, 0 to 1, as the `rouge-score` library computes it from our words (no stemming).

    A reference without words is unscored (None).
    """
    return _rouge_f("rougeL", prediction, reference)


def _rouge_f(name: str, prediction: str, reference: str) -> float | None:
    return float(_rouge(name).score(reference, prediction)[name].fmeasure) if num_words(reference) else None


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


def _closest_length(answer: str, expected: Expected) -> float | Unscored:
    found = [ratio for reference in expected.references if (ratio := length_ratio(answer, reference)) is not None]
    return min(found, key=lambda ratio: abs(ratio - 1)) if found else Unscored(_NO_WORDS)


def _distinct_3(answer: str, expected: Expected) -> float | Unscored:
    found = distinct_n(answer, 3)
    return Unscored("the answer has fewer than three words") if found is None else found


def _answer_words(answer: str, expected: Expected) -> float:
    return float(num_words(answer))


_NO_WORDS = "the reference has no words"
_SHARE = (0.0, 1.0)
_OF_WORDS = (
    "other words for the same thing count as wrong, and words that every answer contains count as right, so a list of frequent"
    " words scores above zero."
)
METRICS = (
    Metric(
        name="word_overlap",
        label="word overlap",
        task="writing",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures="Words that answer and reference share, divided by all words that occur in either.",
        misses=f"order, grammar and repetition; {_OF_WORDS}",
        score=best_of(word_overlap, _NO_WORDS),
    ),
    Metric(
        name="rouge_1",
        label="ROUGE-1",
        task="writing",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures="Words that answer and reference share, each counted as often as it occurs (ROUGE-1, F-measure, no stemming).",
        misses=f"order and grammar; {_OF_WORDS}",
        score=best_of(rouge_1, _NO_WORDS),
    ),
    Metric(
        name="rouge_2",
        label="ROUGE-2",
        task="writing",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures="Pairs of neighbouring words that answer and reference share (ROUGE-2, F-measure, no stemming).",
        misses="other words for the same thing; it is near zero for most free answers, so small differences are chance.",
        score=best_of(rouge_2, "the reference has fewer than two words"),
    ),
    Metric(
        name="rouge_l",
        label="ROUGE-L",
        task="writing",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures="Words that answer and reference have in the same order, gaps allowed (ROUGE-L, F-measure, no stemming).",
        misses=f"whether the sentences make sense; {_OF_WORDS}",
        score=best_of(rouge_l, _NO_WORDS),
    ),
    Metric(
        name="exact_match",
        label="exact match",
        task="questions",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures="Share of answers equal to a reference, apart from white space at the ends.",
        misses="right answers with another case, punctuation or wording.",
        score=best_of(exact_match, "the item has no reference"),
    ),
    Metric(
        name="length_ratio",
        label="length ratio",
        task="form",
        unit="×",
        bounds=(0.0, math.inf),
        higher_is_better=None,
        measures="Words of the answer divided by words of the reference (of several: the one closest in length).",
        misses="everything but the length.",
        score=each(_closest_length),
    ),
    Metric(
        name="answer_words",
        label="answer words",
        task="form",
        unit="words",
        bounds=(0.0, math.inf),
        higher_is_better=None,
        measures="Number of words in the answer.",
        misses="everything but the length.",
        needs=(),
        score=each(_answer_words),
    ),
    Metric(
        name="distinct_3",
        label="distinct 3-word runs",
        task="form",
        unit="share",
        bounds=_SHARE,
        higher_is_better=None,
        measures="Share of distinct three-word sequences in the answer; a low share means that the answer repeats itself.",
        misses="repetition in other words, and what several answers have in common; short answers score high.",
        needs=(),
        score=each(_distinct_3),
    ),
)
