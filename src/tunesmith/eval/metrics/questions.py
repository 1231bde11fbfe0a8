"""Questions with a short right answer: match and shared words after normalising, and numbers within a tolerance.

Normalising is that of SQuAD (Rajpurkar et al. 2016, § 6.1): lower case, without punctuation, without the articles a, an and
the, white space made single. For text in ASCII it equals the official script; other scripts lose their punctuation too.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter

from tunesmith.eval.metrics.metric import Expected, Metric, Unscored, best_of, each

__all__ = ["METRICS", "last_number", "normalized", "normalized_match", "numbers_match", "token_f1"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NUMBER = re.compile(
    r"(?:(?<![\w.)])[-−+])?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|(?:(?<![\w.)])[-−+])?(?<!\d)\.\d+"
)
_TOLERANCE = 1e-6


def normalized(text: str) -> str:
    """The text as SQuAD compares it."""
    kept = "".join(char for char in text.lower() if unicodedata.category(char)[0] not in "PS")
    return " ".join(_ARTICLES.sub(" ", kept).split())


def normalized_match(prediction: str, reference: str) -> float:
    """1 if both are equal after normalising, else 0."""
    return float(normalized(prediction) == normalized(reference))


def token_f1(prediction: str, reference: str) -> float:
    """F1 of the words that both share after normalising, each counted as often as it occurs, 0 to 1.

    If one of the two has no words left, 1 where neither has, else 0.
    """
    ours, theirs = normalized(prediction).split(), normalized(reference).split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))


def last_number(text: str) -> float | None:
    """The last number written in digits in a text, `1,234.5` and `2e-3` included; None if there is none."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "").replace("−", "-")) if found else None


def numbers_match(prediction: str, reference: str, tolerance: float | None = None) -> float | None:
    """1 if the last numbers of both differ by at most `tolerance` times the reference (default 1e-6), else 0.

    An answer without a number is wrong (0); a reference without one is unscored (None).
    """
    right = last_number(reference)
    if right is None:
        return None
    given = last_number(prediction)
    allowed = _TOLERANCE if tolerance is None else tolerance
    return float(given is not None and math.isclose(given, right, rel_tol=0.0, abs_tol=max(allowed * abs(right), 1e-12)))


def _number(answer: str, expected: Expected) -> float | Unscored:
    found = [numbers_match(answer, reference, expected.tolerance) for reference in expected.references]
    known = [value for value in found if value is not None]
    return max(known) if known else Unscored("the reference has no number")


_SHARE = (0.0, 1.0)
METRICS = (
    Metric(
        name="normalized_match",
        label="match, normalised",
        task="questions",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures="Share of answers equal to a reference without case, punctuation and articles (SQuAD's exact match).",
        misses="right answers inside a sentence, and other names for the same thing.",
        score=best_of(normalized_match, "the item has no reference"),
    ),
    Metric(
        name="token_f1",
        label="token F1",
        task="questions",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures="Words that answer and reference share, without case, punctuation and articles (SQuAD's F1).",
        misses="order and negation (`not 5` scores well against `5`), and other names for the same thing.",
        score=best_of(token_f1, "the item has no reference"),
    ),
    Metric(
        name="numeric_match",
        label="number right",
        task="questions",
        unit="share",
        bounds=_SHARE,
        higher_is_better=True,
        measures=(
            "Share of answers whose last number equals the last number of a reference, within the item's `tolerance` (a share"
            " of the reference; one in a million by default)."
        ),
        misses="units, fractions, numbers written in words, decimal commas, and the reasoning; a lucky guess counts as right.",
        score=each(_number),
    ),
)
