"""A project of Scrivener, whose texts are RTF files in an order that only Scrivener knows: recognised, and not read."""

from __future__ import annotations

from collections.abc import Collection

from tunesmith.data.ingest.container import Container
from tunesmith.data.ingest.tree import Tree

__all__ = ["CONTAINER"]


def _claimed(tree: Tree) -> Collection[str]:
    return tree.names if any(name.endswith(".scrivx") for name in tree.files) else ()


CONTAINER = Container(
    name="scrivener",
    title="a Scrivener project",
    taken="",
    left_out="",
    folder=_claimed,
    instead="compile it (File, Compile) to Word (.docx) or MultiMarkdown, and name that file",
)
