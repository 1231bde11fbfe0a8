"""What a container is: an export or a site tree that is recognised as a whole before any file in it is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from tunesmith.data.ingest.item import Facts, Kind, Reading
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree

__all__ = ["ASSETS", "Broken", "Container", "Entry", "File", "LeftOut", "Ready", "Text"]

ASSETS = "images, styles, code and other assets skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text that the export holds in a field of its own, and what the export states about it.

    `name` names it within the export and does not change with time. `kind` is the markup: `fragment` (HTML without a page
    around it), `markdown`, `text`, `html`, or the kind of a reader. What is stated counts more than what is found inside.
    """

    name: str
    content: str | bytes
    kind: Kind
    facts: Facts = field(default_factory=Facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the tree that is read as if it had been named by itself; `kind` None: as its content says."""

    name: str
    facts: Facts = field(default_factory=Facts)
    kind: Kind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Documents and pairs that the container made itself, such as those of a chat."""

    name: str
    reading: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What is not taken, on purpose: a reason that reads after a number, such as `revisions left out`."""

    reason: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A part that should hold writing and cannot be read."""

    name: str
    reason: str


Entry = Text | File | Ready | LeftOut | Broken


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One kind of export. Each file in this folder holds one as `CONTAINER`, and nothing else names it.

    `file`: whether one file is such an export, by its name and first 64 KB. `folder`: which names of a tree belong to such an
    export; none if it is no such export. Neither goes by the name of the archive. `entries` gives what the export holds, out of
    a tree with the names that were claimed; it may raise UnreadableError for the whole. Without `entries` the export is
    recognised and not read, and `instead` says what to do.

    States of publication and authors go into `Facts`: the policy is applied later, and only what can never be writing, or is
    other people's, is a `LeftOut`. `taken` and `left_out` are the words of the table in docs/guides/sources.md.
    """

    name: str
    title: str
    taken: str
    left_out: str
    file: Callable[[str, bytes], bool] | None = None
    suffixes: frozenset[str] = frozenset()
    folder: Callable[[Tree], Collection[str]] | None = None
    entries: Callable[[Tree, Policy], Iterator[Entry]] | None = None
    instead: str = ""
