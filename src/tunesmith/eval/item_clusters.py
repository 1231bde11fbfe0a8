"""Which rows of a test set belong together: their document, author and thread, and near copies among the documents' texts."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core.records import Example
from tunesmith.data.dataset.split import told_by
from tunesmith.data.similar.records import near_copy_groups
from tunesmith.eval.clusters import AUTHOR, Clusters, clusters

__all__ = ["cluster_rows"]


def cluster_rows(examples: Sequence[Example], column: str = "") -> Clusters:
    """The cluster of each row, in the order given, and why in words.

    A document is a row's group; rows with the same value of `column`, by which the dataset was split, belong together as well;
    near copies are found among all answers of each document together. A cluster has the name of
    the document of its first row by id, so the names do not depend on the order, and a document that nothing is joined to keeps
    its own.
    """
    copies = near_copy_groups(examples)
    order = sorted(range(len(examples)), key=lambda place: examples[place].id)
    units = [
        {
            "document": row.group,
            "thread": told_by(row, "thread"),
            **({column: row.meta.get(column) or None} if column else {}),
            "near_copy": copies.get(row.group),
            AUTHOR: told_by(row, "author"),
        }
        for row in (examples[place] for place in order)
    ]
    found = clusters(units)
    first: dict[str, str] = {}
    names = [""] * len(examples)
    for place, name in zip(order, found.names, strict=True):
        names[place] = first.setdefault(name, examples[place].group)
    return Clusters(names=tuple(names), reason=found.reason, effective_documents=found.effective_documents)
