"""Notes of Google Keep, as Takeout has them: a JSON file for each note, and a page that repeats it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from html import escape
from typing import Any

from lxml import etree, html

from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.ingest.personal import as_fragment, json_in, objects, text_of, utc_day
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_LABELS = "Labels.txt"
# What a page says of its note: in the icons of its head, and in the class of the note itself; never in the note's own words.
_MARKS = '//*[contains(@class,"note")]/@class|//*[@class="heading"]/descendant-or-self::*/@*[name()="class" or name()="title"]'
_TRASHED = re.compile(r"trash|deleted|\bbin\b|papierkorb|corbeille|papelera|lixeira|cestino|prullenbak", re.IGNORECASE)
_PROBED = 20  # files of a folder to know it by: in a folder of notes every file is one


def _claimed(tree: Tree) -> Collection[str]:
    files = [name for name in tree.files if name.endswith((".json", ".html"))]
    if not any(_is_note(tree, name) for name in files[:_PROBED]):
        return ()
    found = {name for name in files if _is_note(tree, name)}
    return found | ({_LABELS} & set(tree.files))


def _is_note(tree: Tree, name: str) -> bool:
    if name.endswith(".json"):
        head = tree.head(name)
        return b'"isTrashed"' in head and (b'TimestampUsec"' in head or b'"isPinned"' in head)
    return name.endswith(".html") and b'class="note' in (head := tree.head(name)) and b'class="heading"' in head


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    notes = {name for name in tree.names if name.endswith(".json")}
    pages = [name for name in tree.names if name.endswith(".html")]
    copies = [name for name in pages if f"{name.removesuffix('.html')}.json" in notes]
    yield LeftOut(reason="pages of Keep that repeat a note left out", count=len(copies))
    for name in tree.names:
        try:
            if name in notes:
                yield _note(json_in(tree.read(name)), name, policy)
            elif name in pages and name not in copies:
                yield _page(decode(tree.read(name)), name)
        except (UnreadableError, etree.LxmlError, ValueError) as error:
            yield Broken(name=name, reason=str(error))


def _note(value: object, name: str, policy: Policy) -> Entry:
    note: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    owners = [text_of(one.get("email")) for one in objects(note.get("sharees")) if one.get("isOwner") is True]
    if owners and not policy.is_own(*owners):
        return LeftOut(reason="texts of other authors left out")
    stamp = note.get("createdTimestampUsec") or note.get("userEditedTimestampUsec")
    lines = [text_of(one.get("text")) for one in objects(note.get("listContent"))]
    listed = "".join(f"<li>{escape(line, quote=False)}</li>" for line in lines if line.strip())
    text = text_of(note.get("textContent"))
    facts = Facts(
        title=" ".join(text_of(note.get("title")).split()),
        date=utc_day(stamp / 1_000_000) if isinstance(stamp, int | float) else None,
        status="deleted" if note.get("isTrashed") is True else "published",
    )
    content = (as_fragment(text) if text.strip() else "") + (f"<ul>{listed}</ul>" if listed else "")
    return Text(name=name, content=content, kind="fragment", facts=facts)


def _page(page: str, name: str) -> Entry:
    root = html.fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8"))
    parts = {key: root.xpath(f'//div[@class="{key}"]') for key in ("heading", "title", "content")}
    trashed = any(_TRASHED.search(mark) for mark in root.xpath(_MARKS))
    facts = Facts(
        title=" ".join(parts["title"][0].text_content().split()) if parts["title"] else "",
        date=iso_date(" ".join(parts["heading"][0].text_content().split())) if parts["heading"] else None,
        status="deleted" if trashed else "published",
    )
    content = "".join(etree.tostring(part, encoding="unicode", method="html", with_tail=False) for part in parts["content"])
    return Text(name=name, content=content, kind="fragment", facts=facts)


CONTAINER = Container(
    name="google_keep",
    title="notes of Google Keep",
    taken="your notes and lists, with title and date",
    left_out="deleted notes, notes that belong to others, pages that repeat a note, labels, pictures",
    folder=_claimed,
    entries=_entries,
)
