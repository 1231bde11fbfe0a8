"""The JSON export of Write.as and WriteFreely: the posts of its blogs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Container, Entry, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import day, first_line, json_value, line, mappings
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

_BLOG = re.compile(rb"\"collections\"\s*:\s*(?:\[|null)")
# Of a blog: 0 unlisted, 1 public, 2 private, 4 behind a password.
_VISIBILITY: dict[object, Status] = {2: "private", 4: "protected", "private": "private", "password": "protected"}


def _is_export(name: str, head: bytes) -> bool:
    has_user = b'"username"' in head[:2000] or b'"collections"' in head[:2000]
    return has_user and b'"posts"' in head and b'"body"' in head and (b'"appearance"' in head or _BLOG.search(head) is not None)


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    (name,) = tree.names
    value = json_value(tree.read(name))
    if not isinstance(value, Mapping):
        raise UnreadableError("it holds no blogs")
    person = line(value.get("username"))
    for post in mappings(value.get("posts")):
        yield _post(post, "drafts", "draft", person, policy)
    for blog in mappings(value.get("collections")):
        status = _VISIBILITY.get(blog.get("visibility"), "published")
        for post in mappings(blog.get("posts")):
            yield _post(post, line(blog.get("alias")) or "blog", status, person, policy)


def _post(post: Mapping[str, Any], blog: str, status: Status, person: str | None, policy: Policy) -> Entry:
    id = first_line(post.get("slug"), post.get("id")) or "post"
    facts = Facts(
        title=line(post.get("title")),
        url=line(post.get("url")),
        author=policy.named(person),
        date=day(post.get("created")),
        status=status,
        language=line(post.get("language")),
    )
    return Text(name=f"{blog}/{id}", content=str(post.get("body") or ""), kind="markdown", facts=facts)


CONTAINER = Container(
    name="writefreely",
    title="a Write.as or WriteFreely export",
    taken="posts of its public and unlisted blogs, with title, date, language and the name of the account",
    left_out="posts in no blog, which count as drafts; private blogs and those behind a password",
    file=_is_export,
    suffixes=frozenset([".json"]),
    entries=_entries,
)
