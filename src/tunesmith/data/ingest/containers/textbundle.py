"""Notes as TextBundles, as Bear, Ulysses and others export them: one folder a note, with what Bear says about it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Container, Entry, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import day, json_value
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_TEXTS = ("text.md", "text.markdown", "text.txt", "text.html")
_MAX_TITLE = 120


def _claimed(tree: Tree) -> Collection[str]:
    names = [name for name in _TEXTS if name in tree]
    if "info.json" not in tree or not names:
        return ()
    head = tree.head("info.json", 8192)
    return ["info.json", *names] if b'"version"' in head or b"bear" in head else ()


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    info = json_value(tree.read("info.json"))
    bear = (
        next((value for key, value in info.items() if "bear" in key and isinstance(value, Mapping)), {})
        if isinstance(info, Mapping)
        else {}
    )
    if bear.get("encrypted"):
        raise UnreadableError("this note is locked; unlock it and export it again")
    name = next(name for name in _TEXTS if name in tree)
    text = decode(tree.read(name))
    status: Status = "deleted" if _is_set(bear.get("trashed")) else "published"
    facts = Facts(title=_title(text), date=day(bear.get("creationDate"), info.get("creationDate")), status=status)
    yield Text(name=name, content=text, kind="fragment" if name.endswith(".html") else "markdown", facts=facts)


def _is_set(value: Any) -> bool:
    return str(value).lower() in {"1", "true", "yes"}


def _title(text: str) -> str | None:
    """The first line, which these applications show as the title."""
    first = next((row.strip() for row in text.split("\n") if row.strip()), "").lstrip("#").strip()
    return first if 0 < len(first) <= _MAX_TITLE and not first.startswith(("<", "!", "---")) else None


CONTAINER = Container(
    name="textbundle",
    title="a note of Bear or another application as a TextBundle",
    taken="the note, with its first line as title and the day on which it was made",
    left_out="notes in the trash; pictures and files in the note",
    folder=_claimed,
    entries=_entries,
)
