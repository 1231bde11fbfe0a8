"""Near copies among documents and examples that are in memory: the better copy stays; and rewordings between splits."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np

from tunesmith.core.labelled import Labelled
from tunesmith.core.records import Document, Example, Finding, Preference, Row
from tunesmith.core.texts import Text
from tunesmith.data.similar.row_pieces import text_of
from tunesmith.data.similar.same_words import near_copy_components
from tunesmith.data.similar.search import Corpus, find_copies, sketch_texts
from tunesmith.data.similar.semantic import BY_WORDS, Similarity, similar_pairs
from tunesmith.data.similar.shingles import shingled

__all__ = ["find_rewordings", "near_copy_groups", "without_near_copies"]

R = TypeVar("R", Document, Example, Preference, Labelled)
_SHOWN = 20
_REWORDINGS: Mapping[str, tuple[Literal["error", "warning"], str]] = {
    "golden_rewordings": ("error", "training rows that say a golden item in other words or order"),
    "golden_related": ("warning", "training rows much like a golden item in what they say"),
    "rewordings": ("warning", "training rows that say a row of another split in other words or order"),
    "related": ("warning", "training rows much like a row of another split in what they say"),
}


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


def near_copy_groups(rows: Sequence[Row]) -> dict[str, str]:
    """For each group of rows that is a near copy of others, the name that all of them share: the first by name.

    A group is compared by all its answers together, as `near_copy_components` does. Groups without a near copy are not in it.
    Plain text is cut at any place, in a word too, so its parts are joined as they were.
    """
    answers: dict[str, str] = {}
    for row in rows:
        before = answers.get(row.group)
        answers[row.group] = row.answer if before is None else f"{before}{'' if isinstance(row, Text) else chr(10)}{row.answer}"
    names = sorted(answers)
    components = near_copy_components([answers[name] for name in names])
    first: dict[int, str] = {}
    return {
        name: first.setdefault(component, name)
        for name, component in zip(names, components, strict=True)
        if component is not None
    }


def find_rewordings(splits: Mapping[str, Sequence[Row]], *, similarity: Similarity = BY_WORDS) -> tuple[Finding, ...]:
    """Training rows whose answers say what an answer in another split says, in other words or another order.

    `golden_rewordings` (error) and `golden_related` (warning): like a golden item by the two thresholds of `similarity`.
    `rewordings` and `related` (warnings): like a row of any other split; an author who says a thing twice is no fault. Those
    that share half of their five-word runs are left to `find_leaks`. Where no split is named train, any two are compared.
    """
    names = ["train", *(name for name in splits if name != "train")] if "train" in splits else list(splits)
    rows = [(name, row) for name in names for row in splits[name]]
    vectors = similarity.vectors([row.answer for _, row in rows])
    borders = np.cumsum([0, *(len(splits[name]) for name in names)]).tolist()
    found: dict[str, list[tuple[float, str]]] = {name: [] for name in _REWORDINGS}
    for start, end in itertools.pairwise(borders[:2] if "train" in splits else borders):
        pairs = similar_pairs(vectors[start:], threshold=similarity.related, first=end - start)
        for (split, row), (other, twin), likeness in ((rows[start + a], rows[start + b], value) for a, b, value in pairs):
            is_golden = "golden" in (split, other)
            if is_golden or not _copied(row.answer, twin.answer):
                kind = "rewordings" if likeness >= similarity.same else "related"
                found[f"golden_{kind}" if is_golden else kind].append((-likeness, f"{split}:{row.id} ~ {other}:{twin.id}"))
    return tuple(
        Finding(
            name=name,
            severity=severity,
            message=f"{len(found[name])} pairs of {what} (by {similarity.name})",
            count=len(found[name]),
            rows=tuple(pair for _, pair in sorted(found[name])[:_SHOWN]),
        )
        for name, (severity, what) in _REWORDINGS.items()
        if found[name]
    )


def _copied(first: str, second: str) -> bool:
    """Whether two texts share half of their five-word runs or more (Jaccard): copies, not rewordings."""
    made = shingled([first, second])
    a, b = set(made.of(0).tolist()), set(made.of(1).tolist())
    return 2 * len(a & b) >= len(a | b)


def _worth(record: Document | Row) -> tuple[int, str, str]:
    if isinstance(record, Document):
        known = sum(1 for value in (record.title, record.url, record.author, record.date, record.license) if value)
        return -known, record.date or "~", record.id
    known = sum(1 for value in (record.title, record.license) if value) + sum(
        1 for k in ("url", "author", "date") if k in record.meta
    )
    return -known, record.meta.get("date", "~"), record.id
