"""The backup of Standard Notes: its notes in plain text, Markdown, HTML or the state of its editor."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Container, Entry, LeftOut, Text
from tunesmith.data.ingest.editor_state import lexical_html
from tunesmith.data.ingest.item import Facts, Kind
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import day, json_value, line, mappings
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

_BEGIN = re.compile(rb"\s*\{")
_NO_PROSE = frozenset(["code", "spreadsheet", "task", "authentication", "file-safe"])


def _is_export(name: str, head: bytes) -> bool:
    return (
        bool(_BEGIN.match(head))
        and b'"items"' in head
        and b'"content_type"' in head
        and (b'"uuid"' in head or b'"Note"' in head)
    )


def _claimed(tree: Tree) -> Collection[str]:
    """The backup and the folder beside it, which holds every note once more."""
    backups = [name for name in tree.files if name.endswith((".txt", ".json")) and _is_export(name, tree.head(name))]
    if not backups or not tree.has_folder("Items"):
        return ()
    return [backups[0], *(name for name in tree.names if name.startswith("Items/"))]


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    yield LeftOut(reason="second copies of notes left out", count=sum(name.startswith("Items/") for name in tree.names))
    name = next(name for name in tree.names if not name.startswith("Items/"))
    value = json_value(tree.read(name))
    items = mappings(value.get("items") if isinstance(value, Mapping) else None)
    notes = [item for item in items if item.get("content_type") == "Note"]
    locked = [note for note in notes if isinstance(note.get("content"), str)]
    if notes and len(locked) == len(notes):
        raise UnreadableError("it is encrypted; choose Decrypted when you make the backup")
    yield LeftOut(reason="encrypted notes left out", count=len(locked))
    yield LeftOut(reason="tags, settings and other items without text left out", count=len(items) - len(notes))
    for note in notes:
        if isinstance(note.get("content"), Mapping):
            yield _note(note, note["content"])


def _note(note: Mapping[str, Any], content: Mapping[str, Any]) -> Entry:
    kind = str(content.get("noteType") or "")
    if kind in _NO_PROSE:
        return LeftOut(reason="notes of code, tasks and tables left out")
    text = str(content.get("text") or "")
    markup: Kind = "markdown"
    if kind == "super" or text.startswith('{"root":'):
        text, markup = lexical_html(text), "fragment"
    elif kind == "rich-text" or text.lstrip().startswith("<p"):
        markup = "fragment"
    status: Status = "deleted" if content.get("trashed") or note.get("deleted") else "published"
    facts = Facts(title=line(content.get("title")), date=day(note.get("created_at")), status=status)
    return Text(name=line(note.get("uuid")) or "note", content=text, kind=markup, facts=facts)


CONTAINER = Container(
    name="standard_notes",
    title="a Standard Notes backup",
    taken="notes with title and the day on which they were made",
    left_out="notes in the trash; encrypted notes; tags and settings; code, tasks and tables; the second copy of each note",
    file=_is_export,
    suffixes=frozenset([".txt", ".json"]),
    folder=_claimed,
    entries=_entries,
)
