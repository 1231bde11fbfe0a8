"""TextBundles, as Bear, Ulysses and others export notes: a folder for each note, with what Bear says about it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import day, json_value
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_TEXTS = ("text.md", "text.markdown", "text.txt", "text.html")
_LISTS = ("backup.json", "tags.json")
_MAX_TITLE = 120


def _claimed(tree: Tree) -> Collection[str]:
    """The bundles in a folder (or this one), with the lists that Bear writes beside them."""
    if "info.json" in tree:
        return _of_bundle(tree, "")
    bundles = [name.partition("/")[0] for name in tree.names if name.count("/") == 1 and name.endswith(".textbundle/info.json")]
    found = [name for bundle in bundles for name in _of_bundle(tree, f"{bundle}/")]
    return [*found, *(name for name in _LISTS if name in tree)] if found else ()


def _of_bundle(tree: Tree, start: str) -> list[str]:
    names = [start + name for name in _TEXTS if start + name in tree]
    head = tree.head(f"{start}info.json", 8192) if names else b""
    return [f"{start}info.json", *names] if b'"version"' in head or b"bear" in head else []


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    yield LeftOut(reason="lists of tags left out", count=sum(name in tree for name in _LISTS))
    for name in tree.names:
        if PurePosixPath(name).name in _TEXTS:
            try:
                yield _note(tree, name)
            except UnreadableError as error:
                yield Broken(name=name, reason=str(error))


def _note(tree: Tree, name: str) -> Entry:
    value = json_value(tree.read(str(PurePosixPath(name).with_name("info.json"))))
    info: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    bear = next((part for key, part in info.items() if "bear" in key and isinstance(part, Mapping)), {})
    if bear.get("encrypted"):
        raise UnreadableError("this note is locked; unlock it and export it again")
    text = decode(tree.read(name))
    status: Status = "deleted" if _is_set(bear.get("trashed")) else "published"
    facts = Facts(title=_title(text), date=day(bear.get("creationDate"), info.get("creationDate")), status=status)
    return Text(name=name, content=text, kind="fragment" if name.endswith(".html") else "markdown", facts=facts)


def _is_set(value: Any) -> bool:
    return str(value).lower() in {"1", "true", "yes"}


def _title(text: str) -> str | None:
    """The first line, which these applications show as the title."""
    first = next((row for line in text.split("\n") if (row := line.strip().lstrip("#").strip())), "")
    return first if 0 < len(first) <= _MAX_TITLE and not first.startswith(("<", "!", "---")) else None


CONTAINER = Container(
    name="textbundle",
    title="a backup of Bear or another folder of TextBundles",
    taken="notes, with their first line as title and the day on which they were made",
    left_out="notes in the trash, locked notes; lists of tags; pictures and files in the note",
    folder=_claimed,
    entries=_entries,
)
