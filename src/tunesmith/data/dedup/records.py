"""Near copies among documents and examples that are in memory: the better copy stays; and rewordings of golden items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

from tunesmith.core.records import Document, Example, Finding
from tunesmith.data.dedup.rows import text_of
from tunesmith.data.dedup.search import Corpus, find_copies, sketch_texts
from tunesmith.data.dedup.semantic import RELATED_MEANING, SAME_MEANING, Embed, embed_by_words, similar_pairs

__all__ = ["find_rewordings", "without_near_copies"]

R = TypeVar("R", Document, Example)
_SHOWN = 20


def without_near_copies(records: Sequence[R], threshold: float) -> list[R]:
    """The records without those that copy a better one, in the order given.

    Of a cluster that one stays which has more words; then more of title, url, author, date and licence; then the earlier
    date; then the smaller id. An example is compared by its whole conversation, so the same answer to another question is
    no copy.
    """
    texts = [record.text if isinstance(record, Document) else text_of(record) for record in records]
    sketch = sketch_texts(texts, threshold=threshold)
    gone: set[int] = set()
    for cluster in find_copies(Corpus(sketch, texts), threshold=threshold).clusters:
        best = min(cluster, key=lambda row: (-int(sketch.num_words_D[row]), *_worth(records[row]), row))
        gone |= {row for row in cluster if row != best}
    return [record for number, record in enumerate(records) if number not in gone]


def find_rewordings(
    train: Sequence[Example], golden: Sequence[Example], *, embed: Embed = embed_by_words
) -> tuple[Finding, ...]:
    """Training rows whose answers say what a golden answer says, in other words or another order.

    `golden_rewordings` (error): similarity 0.8 or more; `golden_related` (warning): 0.7 to 0.8.
    """
    pairs = similar_pairs(embed([row.answer for row in (*train, *golden)]), threshold=RELATED_MEANING, first=len(train))
    same = [pair for pair in pairs if pair[2] >= SAME_MEANING]
    related = [pair for pair in pairs if pair[2] < SAME_MEANING]

    def told(name: str, severity: Literal["error", "warning"], what: str, some: Sequence[tuple[int, int, float]]) -> Finding:
        shown = tuple(f"train:{train[a].id} ~ golden:{golden[b - len(train)].id}" for a, b, _ in some[:_SHOWN])
        return Finding(name=name, severity=severity, message=f"{len(some)} pairs of {what}", count=len(some), rows=shown)

    found = []
    if same:
        found.append(told("golden_rewordings", "error", "training rows that say a golden item in other words or order", same))
    if related:
        found.append(told("golden_related", "warning", "training rows much like a golden item in what they say", related))
    return tuple(found)


def _worth(record: Document | Example) -> tuple[int, str, str]:
    if isinstance(record, Document):
        known = sum(1 for value in (record.title, record.url, record.author, record.date, record.license) if value)
        return -known, record.date or "~", record.id
    known = sum(1 for value in (record.title, record.license) if value) + sum(
        1 for k in ("url", "author", "date") if k in record.meta
    )
    return -known, record.meta.get("date", "~"), record.id
