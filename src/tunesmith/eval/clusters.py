"""Which items belong together: one cluster for the items that share a document, an author, a thread or a near copy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["AUTHOR", "Clusters", "Weighting", "clusters", "effective_documents"]

Weighting = Literal["documents", "items"]
AUTHOR = "author"  # the one label that does not always join


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """The cluster of each item in `names`, and why in `reason`. `effective_documents`: how many clusters there are."""

    names: tuple[str, ...]
    reason: str
    effective_documents: int


def clusters(units: Sequence[Mapping[str, str | None]]) -> Clusters:
    """The coarsest partition of items by their labels: items are in one cluster if a chain of shared labels connects them.

    `units`: for each item its labels by kind, the document first (`{"document": "d1", "author": None, "thread": "t7"}`). A
    label of None joins nothing; an item without any label is a cluster of its own. `author` joins only if there are several
    authors and none has more than half of the documents: otherwise that author is what the verdict is about.
    """
    kinds = list(dict.fromkeys(kind for unit in units for kind in unit))
    parents = list(range(len(units)))
    joined: dict[str, int] = {}
    for kind in (kind for kind in kinds if kind != AUTHOR):
        joined[kind] = _join(parents, [unit.get(kind) for unit in units])
    authors = [unit.get(AUTHOR) for unit in units]
    unused = _why_authors_do_not_join(authors, [_root(parents, i) for i in range(len(units))]) if AUTHOR in kinds else None
    if AUTHOR in kinds and unused is None:
        joined[AUTHOR] = _join(parents, authors)
    roots = [_root(parents, i) for i in range(len(units))]
    number = len(set(roots))
    return Clusters(
        names=tuple(_name(units[root], root) for root in roots),
        reason=_reason(len(units), kinds[0] if kinds else None, number, joined, unused),
        effective_documents=number,
    )


def effective_documents(groups: Sequence[str], weighting: Weighting = "documents") -> float:
    """How many documents of equal weight the mean rests on (Kish 1965): all of them if each counts as one (`documents`).

    n² / Σ n_g² if every item counts as one (`items`): one document with two thirds of the items leaves about two documents.
    """
    sizes = Counter(groups).values()
    if weighting == "documents" or not sizes:
        return float(len(sizes))
    return float(sum(sizes) ** 2 / sum(size**2 for size in sizes))


def _root(parents: list[int], item: int) -> int:
    while parents[item] != item:
        parents[item] = parents[parents[item]]
        item = parents[item]
    return item


def _join(parents: list[int], labels: Sequence[str | None]) -> int:
    """Join items with equal labels; the earliest item stays the root. Returns how many clusters became part of another."""
    first: dict[str, int] = {}
    count = 0
    for item, label in enumerate(labels):
        if label is None:
            continue
        one, other = sorted((_root(parents, first.setdefault(label, item)), _root(parents, item)))
        parents[other] = one
        count += one != other
    return count


def _why_authors_do_not_join(authors: Sequence[str | None], documents: Sequence[int]) -> str | None:
    of_author = {(author, document) for author, document in zip(authors, documents, strict=True) if author is not None}
    by_author = Counter(author for author, _ in of_author)
    if len(by_author) < 2:
        return "only one author is named" if by_author else "no author is named"
    most, total = max(by_author.values()), len(set(documents))
    if 2 * most > total:
        return f"one author has {most} of {total} documents, so the verdict is about this author"
    return None


def _name(unit: Mapping[str, str | None], item: int) -> str:
    return next((f"{kind}:{label}" for kind, label in unit.items() if label is not None), f"item:{item}")


def _reason(items: int, first: str | None, number: int, joined: Mapping[str, int], unused: str | None) -> str:
    if first is None:
        return f"{items} items without labels, each a cluster of its own"
    merges = ", ".join(
        f"{count} by the same {kind.replace('_', ' ')}" for kind, count in joined.items() if count and kind != first
    )
    before = items - joined.get(first, 0)
    text = f"{items} items from {before} {first.replace('_', ' ')}s are {number} clusters"
    text += f" ({merges} joined to another)" if merges else ""
    return text + (f"; authors join nothing: {unused}" if unused else "")
