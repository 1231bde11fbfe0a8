"""The export file of Evernote (ENEX): one's own notes; what was clipped from the web is not one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunesmith.data.ingest.container import Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.package import read_large_xml
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

_HEAD = re.compile(r"^\s*(?:<\?xml[^<>]*\?>)?\s*(?:<!DOCTYPE[^<>]*>)?\s*")
_SECRET = re.compile(r"<en-crypt\b.*?</en-crypt>", re.DOTALL)
_CLIP = re.compile(r"web\.clip|webclipper|evernote\.web|clearly|skitch\.clip|mail\.(?:clip|smtp)", re.IGNORECASE)
_CLIPPED = re.compile(r"<div[^<>]*--en-(?:clipped-content|clipped-source-url)", re.IGNORECASE)


def _is_export(name: str, head: bytes) -> bool:
    return b"<en-export" in head


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    (name,) = tree.names
    known = 0
    for note in read_large_xml(tree.read(name), ("note",)):
        known += 1
        attributes = note.find("note-attributes")
        stated = {str(one.tag): (one.text or "").strip() for one in attributes} if attributes is not None else {}
        content = note.findtext("content") or ""
        if (
            _CLIP.search(stated.get("source", ""))
            or _CLIP.search(stated.get("source-application", ""))
            or _CLIPPED.search(content)
        ):
            yield LeftOut(reason="clippings of pages and mails left out")
            continue
        facts = Facts(
            title=" ".join((note.findtext("title") or "").split()),
            author=policy.named(stated.get("author")),
            date=iso_date(note.findtext("created")) or iso_date(note.findtext("updated")),
        )
        yield Text(name=str(known), content=_SECRET.sub("", _HEAD.sub("", content)), kind="fragment", facts=facts)
    if not known:
        raise UnreadableError("it holds no note")


CONTAINER = Container(
    name="evernote",
    title="an export of Evernote",
    taken="your notes, with title, author and date",
    left_out="clippings of pages and mails, attachments, encrypted parts, tables, code",
    file=_is_export,
    suffixes=frozenset([".enex"]),
    entries=_entries,
)
