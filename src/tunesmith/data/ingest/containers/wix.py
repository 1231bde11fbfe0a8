"""The export of a Wix blog: a table of posts, each as plain text and as the state of its editor."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Container, Entry, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import columns, day, line, stored_rows
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

_BLOCKS = {"PARAGRAPH": "p", "BLOCKQUOTE": "blockquote", "BULLETED_LIST": "ul", "ORDERED_LIST": "ol", "LIST_ITEM": "li"}
_MAX_DEPTH = 50


def _is_export(name: str, head: bytes) -> bool:
    found = columns(head)
    return (
        "title" in found
        and bool({"rich content", "plain content"} & found)
        and bool({"internal id", "slug", "post page url"} & found)
    )


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    (name,) = tree.names
    rows = list(stored_rows(tree.read(name), name=name))
    if not rows:
        raise UnreadableError("it holds no posts")
    for number, row in enumerate(rows, 1):
        date = day(row.get("published date"), row.get("last published date"), row.get("first published date"))
        stated = row.get("status", "").strip().lower()
        status: Status = "published" if date and stated in {"", "published"} else "draft"
        facts = Facts(
            title=line(row.get("title")),
            url=line(row.get("post page url")),
            author=policy.named(line(row.get("author"))),
            date=date,
            status=status,
        )
        id = line(row.get("slug")) or line(row.get("id")) or str(number)
        rich = _rich(row.get("rich content", ""))
        if rich:
            yield Text(name=id, content=rich, kind="fragment", facts=facts)
        else:
            yield Text(name=id, content=row.get("plain content", ""), kind="text", facts=facts)


def _rich(stored: str) -> str:
    try:
        value = json.loads(stored) if stored.strip() else {}
    except (ValueError, RecursionError):
        return ""  # the plain text of the post is there as well
    return "".join(_nodes(value, 0)) if isinstance(value, Mapping) else ""


def _nodes(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    children = node.get("nodes")
    for child in children if isinstance(children, list) and depth < _MAX_DEPTH else []:
        if not isinstance(child, Mapping):
            continue
        kind = child.get("type")
        if kind == "TEXT":
            data = child.get("textData")
            yield escape(str(data.get("text") or ""), quote=False).replace("\n", "<br>") if isinstance(data, Mapping) else ""
        elif kind == "HEADING":
            data = child.get("headingData")
            level = data.get("level", 2) if isinstance(data, Mapping) else 2
            yield from (f"<h{level}>", *_nodes(child, depth + 1), f"</h{level}>")
        elif tag := _BLOCKS.get(str(kind)):
            yield from (f"<{tag}>", *_nodes(child, depth + 1), f"</{tag}>")
        elif kind in {"COLLAPSIBLE_LIST", "COLLAPSIBLE_ITEM", "COLLAPSIBLE_ITEM_TITLE", "COLLAPSIBLE_ITEM_BODY"}:
            yield from _nodes(child, depth + 1)


CONTAINER = Container(
    name="wix",
    title="a Wix blog export",
    taken="posts with title, author, date and address",
    left_out="posts without a day of publication; buttons, pictures, galleries, tables and embeds",
    file=_is_export,
    suffixes=frozenset([".csv"]),
    entries=_entries,
)
