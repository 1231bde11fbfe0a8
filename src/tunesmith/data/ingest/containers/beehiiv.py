"""The export of a Beehiiv newsletter: a table of posts in HTML, or what its API answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lxml import html

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Container, Entry, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import columns, day, first_line, json_value, line, mappings, parsed_html, stored_rows
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

_API = re.compile(rb"\"id\"\s*:\s*\"post_[0-9a-f-]{8,}\"")
_STATUS: dict[str, Status] = {
    "confirmed": "published",
    "published": "published",
    "scheduled": "scheduled",
    "archived": "published",
}
_FREE = frozenset(["free", "all", "both", ""])
_DROPPED = ".//script|.//style|.//figure|.//figcaption|.//*[contains(@class, 'button') or contains(@class, 'subscribe')]"


def _is_export(name: str, head: bytes) -> bool:
    if name.lower().endswith(".json"):
        return _API.search(head) is not None and (b'"web_url"' in head or b'"subtitle"' in head)
    return {"web_title", "content_html"} <= columns(head)


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    (name,) = tree.names
    rows = _of_api(tree.read(name)) if name.lower().endswith(".json") else list(stored_rows(tree.read(name), name=name))
    if not rows:
        raise UnreadableError("it holds no posts")
    for number, row in enumerate(rows, 1):
        yield _post(row, number, policy)


def _of_api(data: bytes) -> list[Mapping[str, Any]]:
    value = json_value(data)
    return mappings(value.get("data") if isinstance(value, Mapping) else value)


def _post(row: Mapping[str, Any], number: int, policy: Policy) -> Entry:
    content = row.get("content_html") or row.get("content")
    for key in ("free", "web"):  # what readers without a subscription see
        content = content.get(key) if isinstance(content, Mapping) else content
    status = _STATUS.get(str(row.get("status") or "draft").strip().lower(), "draft")
    if status == "published" and str(row.get("audience") or "").strip().lower() not in _FREE:
        status = "protected"
    authors = row.get("authors")
    names = [policy.named(line(one)) for one in authors] if isinstance(authors, list) else []
    facts = Facts(
        title=first_line(row.get("web_title"), row.get("title"), row.get("email_subject_line")),
        url=first_line(row.get("url"), row.get("web_url")),
        author=", ".join(name for name in names if name) or None,
        date=day(
            row.get("published_at"),
            row.get("publish_date"),
            row.get("displayed_date"),
            row.get("created_at"),
            row.get("created"),
        ),
        status=status,
    )
    return Text(name=line(row.get("id")) or str(number), content=_prose(str(content or "")), kind="fragment", facts=facts)


def _prose(source: str) -> str:
    """The text of a newsletter that is laid out in tables, whose cells become blocks; buttons and pictures go."""
    if not source.strip():
        return ""
    root = parsed_html(source)
    blocks = root.xpath("//*[@id='content-blocks']")
    root = blocks[0] if blocks and blocks[0].text_content().strip() else root
    for element in root.xpath(_DROPPED):
        if element.getparent() is not None:
            element.drop_tree()
    for element in root.iter("table", "tbody", "tr", "td", "th"):
        element.tag = "div"
    return str(html.tostring(root, encoding="unicode"))


CONTAINER = Container(
    name="beehiiv",
    title="a Beehiiv export",
    taken="posts with title, date and address, from the table of posts or the API",
    left_out="drafts and posts for paying readers; buttons, pictures",
    file=_is_export,
    suffixes=frozenset([".csv", ".json"]),
    entries=_entries,
)
