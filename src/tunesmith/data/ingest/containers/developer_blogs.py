"""The JSON of blogs that keep Markdown: exports of Hashnode and DEV (Forem)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Container, Entry, Text
from tunesmith.data.ingest.item import Facts, Kind
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import day, first_line, json_value, line, mappings
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

_BODIES = ("contentMarkdown", "body_markdown", "content", "body_html")
_LIQUID = re.compile(r"^%\[[^\]\n]{1,500}\][ \t]*$", re.MULTILINE)


def _is_export(name: str, head: bytes) -> bool:
    is_hashnode = b'"contentMarkdown"' in head and (b'"dateAdded"' in head or b'"cuid"' in head or b'"slug"' in head)
    return is_hashnode or (b'"body_markdown"' in head and b'"title"' in head)


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    (name,) = tree.names
    value = json_value(tree.read(name))
    listed = value.get("posts", value.get("articles", [value])) if isinstance(value, Mapping) else value
    rows = mappings(listed)
    posts = [row for row in rows if any(isinstance(row.get(key), str) for key in _BODIES)]
    if not posts:
        raise UnreadableError("it holds no posts")
    for number, post in enumerate(posts, 1):
        key = next(key for key in _BODIES if isinstance(post.get(key), str))
        kind: Kind = "markdown" if "arkdown" in key or "<p" not in post[key] else "fragment"
        id = first_line(post.get("slug"), post.get("id"), post.get("cuid")) or str(number)
        yield Text(name=id, content=_LIQUID.sub("", post[key]), kind=kind, facts=_facts(post, policy))


def _facts(post: Mapping[str, Any], policy: Policy) -> Facts:
    person: Mapping[str, Any] = next((post[key] for key in ("user", "author") if isinstance(post.get(key), Mapping)), {})
    date = day(*(post.get(key) for key in ("published_at", "publishedAt", "dateAdded", "published_timestamp")))
    status: Status = "published"
    if (
        post.get("published") is False
        or post.get("isActive") is False
        or post.get("isDraft")
        or post.get("draft")
        or ("published_at" in post and "published" not in post and not date)
    ):
        status = "draft"
    if post.get("isDelisted") or post.get("unlisted"):
        status = "private" if status == "published" else status
    return Facts(
        title=line(post.get("title")),
        url=first_line(post.get("canonical_url"), post.get("originalArticleURL"), post.get("url")),
        author=policy.named(*(line(person.get(key)) for key in ("name", "username"))),
        date=date,
        status=status,
        language=line(post.get("language")),
    )


CONTAINER = Container(
    name="developer_blogs",
    title="a Hashnode or DEV export",
    taken="posts in Markdown or HTML, with title, author, date and canonical address",
    left_out="drafts and unlisted posts; embeds, code",
    file=_is_export,
    suffixes=frozenset([".json"]),
    entries=_entries,
)
