"""A set of examples in figures: lengths, languages, licences, sources, turns, variety, topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from tunesmith.data.checks.rows import Row
from tunesmith.data.checks.topics import find_topics
from tunesmith.data.checks.variety import distinct
from tunesmith.data.checks.wording import opening

__all__ = ["summarize"]

_LISTED = 10


def summarize(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures as JSON. Counts are of rows; a share is of all rows; None where there is nothing to count.

    `distinct`: distinct-1, -2, -3 of a sample of the answers. `template_share`: the largest share of prompts that begin with
    the same three words. `topics`: clusters of at most 2,000 rows, each named by three words.
    """
    starts = Counter(begin for row in rows if (begin := opening(row.said)))
    return {
        "rows": len(rows),
        "prompt_characters": _spread([len(row.said) for row in rows]),
        "answer_characters": _spread([len(row.answer) for row in rows]),
        "languages": _most(Counter(row.language or "not known" for row in rows)),
        "licences": _most(Counter(row.example.license or "not named" for row in rows)),
        "sources": _most(Counter(row.example.source for row in rows)),
        "documents": len({row.example.group for row in rows}),
        "largest_document_share": max(Counter(row.example.group for row in rows).values(), default=0) / max(1, len(rows)),
        "exchanges": _most(Counter(str(sum(m.role == "user" for m in row.example.messages)) for row in rows)),
        "with_system_prompt": sum(bool(row.system) for row in rows),
        "system_prompts": len({row.system for row in rows if row.system}),
        "generated": sum(row.example.origin is not None for row in rows),
        "distinct": {str(n): distinct(rows, n) for n in (1, 2, 3)},
        "template_share": max(starts.values(), default=0) / max(1, len(rows)),
        "topics": [asdict(topic) for topic in find_topics(rows)],
    }


def _spread(values: Sequence[int]) -> dict[str, float] | None:
    return {"smallest": min(values), "median": median(values), "largest": max(values)} if values else None


def _most(counts: Counter[str]) -> dict[str, int]:
    """The ten commonest, and the others as one."""
    shown = dict(counts.most_common(_LISTED))
    if rest := counts.total() - sum(shown.values()):
        shown["others"] = rest
    return shown
