"""The JSON export of Roam Research: each page as a text, its blocks as paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.data.ingest.container import Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import day, json_value, line, mappings
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

_BEGIN = re.compile(rb"\s*(?:\xef\xbb\xbf)?\[\s*\{")
_DAY = re.compile(r"[A-Z][a-z]+ \d{1,2}(?:st|nd|rd|th), \d{4}")
_ATTRIBUTE = re.compile(r"[^:\n]{1,60}::")
_TASK = re.compile(r"\{\{(?:\[\[)?(?:TODO|DONE)(?:\]\])?\}\}\s*")
_COMPONENT = re.compile(r"!\[[^\]]*\]\([^)]*\)|#\[\[[^\]\n]{1,200}\]\]|(?<!\S)#[\w/-]+")
_BRACES = re.compile(r"\{\{(?:[^{}]|\{[^{}]{0,300}\}){0,500}\}\}")
_REFERENCE = re.compile(r"!?\(\(([\w-]{1,40})\)\)")
_LINK = re.compile(r"\[\[([^\[\]\n]{1,300})\]\]")
_ALIAS = re.compile(r"\[([^\[\]\n]{1,300})\]\((?:\[\[[^)\n]*\]\]|\(\([\w-]{9}\)\))\)")
_PARAGRAPH_WORDS = 12
_MAX_BLOCKS = 200_000


def _is_export(name: str, head: bytes) -> bool:
    has_times = any(key in head for key in (b'"create-time"', b'"edit-time"', b'":block/refs"', b'"create-email"'))
    has_blocks = b'"string"' in head and b'"uid"' in head
    return bool(_BEGIN.match(head)) and has_blocks and (has_times or (b'"title"' in head and b'"children"' in head))


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    (name,) = tree.names
    pages = [page for page in mappings(json_value(tree.read(name))) if isinstance(page.get("title"), str)]
    if not pages:
        raise UnreadableError("it holds no pages")
    strings = {
        block["uid"]: block["string"]
        for page in pages
        for block in _blocks(page)
        if isinstance(block.get("uid"), str) and isinstance(block.get("string"), str)
    }
    for page in pages:
        title = line(page["title"]) or ""
        if title.startswith("roam/") or title.lower() in {"roam", "templates", "template"}:
            yield LeftOut(reason="settings and templates left out")
            continue
        written = _text(page, strings)
        stated = day(re.sub(r"(?<=\d)(?:st|nd|rd|th),", ",", title)) if _DAY.fullmatch(title) else None
        facts = Facts(title=title, author=policy.named(*_authors(page)), date=stated or day(*_times(page)))
        facts["date_origin"] = "name" if stated else "metadata"
        if written:
            yield Text(name=line(page.get("uid")) or title, content=written, kind="markdown", facts=facts)
        else:
            yield LeftOut(reason="pages without blocks left out")


def _authors(page: Mapping[str, Any]) -> tuple[str | None, ...]:
    return tuple(line(page.get(key)) for key in ("create-email", "edit-email", ":create/user"))


def _times(page: Mapping[str, Any]) -> list[object]:
    """When the page was made, else the first of its blocks, else when it was changed."""
    blocks = sorted(block["create-time"] for block in _blocks(page) if isinstance(block.get("create-time"), int))
    return [page.get("create-time"), *blocks[:1], page.get("edit-time")]


def _blocks(page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The blocks of a page in reading order, without recursion."""
    found: list[Mapping[str, Any]] = []
    waiting = list(reversed(mappings(page.get("children"))))
    while waiting and len(found) < _MAX_BLOCKS:
        block = waiting.pop()
        found.append(block)
        if "roam/" not in str(block.get("string"))[:40]:
            waiting += reversed(mappings(block.get("children")))
    return found


def _text(page: Mapping[str, Any], strings: Mapping[str, str]) -> str:
    """Blocks of a sentence or more are paragraphs, neighbours that are shorter a list."""
    parts: list[str] = []
    was_item = False
    for block in _blocks(page):
        stored = block.get("string")
        written = _plain(stored, strings) if isinstance(stored, str) else ""
        if not any(letter.isalnum() for letter in written):
            continue
        level = block.get("heading")
        is_item = not level and "\n" not in written and len(written.split()) < _PARAGRAPH_WORDS and written[-1] not in '.!?…:"”'
        mark = f"{'#' * min(max(level, 1), 6)} " if isinstance(level, int) and level else "- " if is_item else ""
        parts.append(("\n" if is_item and was_item else "\n\n") + mark + written)
        was_item = is_item
    return "".join(parts).strip()


def _plain(stored: str, strings: Mapping[str, str]) -> str:
    """The words of a block. A reference shows the block that it leads to; one that is a whole block repeats it, and goes."""
    if _ATTRIBUTE.match(stored) or stored.lstrip().startswith("```") or _REFERENCE.fullmatch(stored.strip()):
        return ""
    text = _ALIAS.sub(r"\1", _TASK.sub("", stored))
    text = _REFERENCE.sub(lambda match: strings.get(match[1], "" if len(match[1]) == 9 else match[0]), text)
    for _ in range(3):  # queries hold groups in groups
        text = _BRACES.sub("", text)
    text = _COMPONENT.sub("", text)
    for _ in range(5):  # links in links
        text = _LINK.sub(r"\1", text)
    text = _BRACES.sub("", text).replace("^^", "").replace("__", "*")
    rows = (re.sub(r" +(?=[.,;:!?](?:\s|$))", "", " ".join(row.split())) for row in text.split("\n"))
    return "\n".join(row for row in rows if row)


CONTAINER = Container(
    name="roam",
    title="a Roam export",
    taken="pages with title, author and date (that of a daily note is its day); blocks become paragraphs and lists",
    left_out="attributes, queries, references to blocks, tags, code, pictures, settings and templates (`roam/…`)",
    file=_is_export,
    suffixes=frozenset([".json"]),
    entries=_entries,
)
