"""The export of Blogger: a feed of posts, pages, comments, settings and templates, or what its API answers."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from lxml import etree

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import day, json_value, line, mappings
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

_FEED = (b"schemas.google.com/blogger/2008/kind#", b"schemas.google.com/blogger/2018")
_API = re.compile(rb"\"kind\"\s*:\s*\"blogger#(?:post|page)(?:List)?\"")
_WRITING = frozenset(["post", "page"])
_STATUS: dict[str, Status] = {
    "live": "published",
    "draft": "draft",
    "scheduled": "scheduled",
    "soft_trashed": "deleted",
    "trashed": "deleted",
    "deleted": "deleted",
}
_BESIDE = frozenset(["settings.csv", "theme-classic.html", "theme-layouts.xml", "comments.csv", "profile.csv"])


def _is_export(name: str, head: bytes) -> bool:
    if name.lower().endswith(".json"):
        return _API.search(head) is not None
    return b"<feed" in head and any(mark in head for mark in _FEED)


def _claimed(tree: Tree) -> Collection[str]:
    """The feed of one blog in a Takeout, with the settings and themes in its folder."""
    if "feed.atom" not in tree or not _is_export("feed.atom", tree.head("feed.atom")):
        return ()
    return ["feed.atom", *(name for name in tree.files if name in _BESIDE or name.startswith("theme-"))]


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    for name in tree.names:
        if PurePosixPath(name).name in _BESIDE or name.startswith("theme-"):
            yield LeftOut(reason="settings and themes left out")
            continue
        read, start = (_of_api if name.lower().endswith(".json") else _of_feed), f"{name}/" if len(tree.names) > 1 else ""
        yield from read(tree.read(name), policy, start)


def _of_feed(data: bytes, policy: Policy, start: str) -> Iterator[Entry]:
    found = 0
    try:
        for _, entry in etree.iterparse(
            io.BytesIO(data),
            events=("end",),
            tag="{*}entry",
            recover=True,
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
        ):
            found += 1
            yield _entry(entry, found, policy, start)
            entry.clear()
    except etree.XMLSyntaxError as error:
        raise UnreadableError("its XML is broken") from error
    if not found:
        raise UnreadableError("it holds no entry")


def _entry(entry: etree._Element, number: int, policy: Policy, start: str) -> Entry:
    fields: dict[str, str] = {}
    kind = url = ""
    names: list[str | None] = []
    for child in entry:
        tag = str(etree.QName(child).localname) if isinstance(child.tag, str) else ""
        if tag == "category" and "kind#" in child.get("term", ""):
            kind = child.get("term", "").rpartition("#")[2]
        elif tag == "link" and child.get("rel") == "alternate":
            url = child.get("href", "")
        elif tag == "author":
            names = [line(part.text) for part in child if etree.QName(part).localname in {"name", "email", "uri"}]
        elif tag == "control":
            fields["draft"] = " ".join(part.text or "" for part in child)
        elif tag:
            fields.setdefault(tag, child.text or "")
    kind = fields.get("type", "").strip().lower() or kind
    if kind == "comment" or (kind == "post" and "in-reply-to" in fields):
        return LeftOut(reason="comments left out")
    if kind not in _WRITING:
        return LeftOut(reason="settings and themes left out")
    stated = fields.get("status", "live").strip().lower()
    status: Status = "draft" if "yes" in fields.get("draft", "") else _STATUS.get(stated, "draft")
    if fields.get("trashed", "").strip():
        status = "deleted"
    id = (line(fields.get("id")) or str(number)).rpartition("post-")[2].rpartition("page-")[2]
    return Text(
        name=start + id,
        content=fields.get("content", ""),
        kind="fragment",
        facts=Facts(
            title=line(fields.get("title")),
            url=url or line(fields.get("filename")),
            author=policy.named(*names),
            date=day(fields.get("published"), fields.get("created")),
            status=status,
        ),
    )


def _of_api(data: bytes, policy: Policy, start: str) -> Iterator[Entry]:
    value = json_value(data)
    rows = mappings(value if isinstance(value, list) else value.get("items") if isinstance(value, Mapping) else None)
    for number, post in enumerate(rows or mappings([value]), 1):
        if str(post.get("kind", "blogger#post")) not in {"blogger#post", "blogger#page"}:
            yield LeftOut(reason="comments left out")
            continue
        person: Mapping[str, Any] = author if isinstance(author := post.get("author"), Mapping) else {}
        facts = Facts(
            title=line(post.get("title")),
            url=line(post.get("url")),
            author=policy.named(line(person.get("displayName")), line(person.get("id"))),
            date=day(post.get("published")),
            status=_STATUS.get(str(post.get("status") or "live").lower(), "draft"),
        )
        yield Text(
            name=line(post.get("id")) or str(number), content=str(post.get("content") or ""), kind="fragment", facts=facts
        )


CONTAINER = Container(
    name="blogger",
    title="a Blogger export",
    taken="posts and pages of a backup, of a Takeout or of the API, with title, author, date and address",
    left_out="drafts, scheduled and deleted posts; comments; settings, templates and themes",
    file=_is_export,
    suffixes=frozenset([".xml", ".atom", ".json"]),
    folder=_claimed,
    entries=_entries,
)
