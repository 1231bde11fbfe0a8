"""Lengths far from the rest, field by field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

from tunesmith.core.records import Finding
from tunesmith.data.checks.rows import Row, found, shared

__all__ = ["check_lengths"]

_FEWEST_ROWS = 20
_MOST_Z = 3.5  # Iglewicz and Hoaglin 1993, for 0.6745 · (x - median) / MAD
_LEAST_MAD = 0.3  # of log length: sets of one length make no outlier of a slightly longer row
_LEAST_CHARACTERS = 40


def check_lengths(rows: Sequence[Row]) -> Iterator[Finding]:
    """`long_…`, `short_…` `prompts` and `answers`: robust z of the log length in characters beyond 3.5, from 20 rows on.

    Logarithms, since lengths are skewed: on the plain scale every set has outliers among its long rows. Empty texts do not
    count.
    """
    for field, texts in (("prompts", [row.said for row in rows]), ("answers", [row.answer for row in rows])):
        lengths = [(row, len(text)) for row, text in zip(rows, texts, strict=True) if text.strip()]
        if len(lengths) < _FEWEST_ROWS:
            continue
        logs = [math.log1p(length) for _, length in lengths]
        middle = median(logs)
        spread = max(_LEAST_MAD, median(abs(value - middle) for value in logs))
        typical = math.expm1(middle)
        far = [
            (row, length)
            for (row, length), value in zip(lengths, logs, strict=True)
            if 0.6745 * abs(value - middle) / spread > _MOST_Z and abs(length - typical) >= _LEAST_CHARACTERS
        ]
        for name, odd in (("long", [e for e in far if e[1] > typical]), ("short", [e for e in far if e[1] < typical])):
            if odd:
                most = max(length for _, length in odd) if name == "long" else min(length for _, length in odd)
                yield from found(
                    f"{name}_{field}",
                    "warning",
                    [row for row, _ in odd],
                    f"{shared(odd, rows)} {field} are far {'longer' if name == 'long' else 'shorter'} than the rest: up to "
                    f"{most:,} characters against a median of {typical:,.0f} (robust z over {_MOST_Z}).",
                    "read them: two rows run together, a pasted page, or a cut text; split, complete or drop."
                    if name == "long"
                    else "read them: a cut text or a stray label; complete or drop.",
                )
