"""The JSON export of Ghost: posts and pages in HTML, or in the state of one of its two editors."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Container, Entry, LeftOut, Text
from tunesmith.data.ingest.editor_state import lexical_html, markdown_html, mobiledoc_html
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import day, json_value, line, mappings, without_classes
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["CONTAINER"]

_BEGIN = re.compile(rb"\s*(?:\xef\xbb\xbf)?\{\s*\"(?:db\"\s*:\s*[\[{]|meta\"|data\"|posts\"\s*:\s*\[)")
_FIELDS = re.compile(rb"\"(?:exported_on|mobiledoc|lexical|posts_authors|posts_meta|custom_excerpt|codeinjection_head)\"\s*:")
_STATUS: dict[str, Status] = {"published": "published", "sent": "published", "scheduled": "scheduled"}
_DROPPED_TEXT = """
kg-button-card kg-signup-card kg-bookmark-card kg-email-card kg-email-cta kg-cta-card kg-product-card kg-file-card
kg-audio-card kg-video-card kg-header-card kg-gallery-card kg-image-card kg-embed-card kg-nft-card kg-code-card
kg-callout-emoji kg-collection-card kg-toggle-heading-icon footnotes footnote-ref kg-transistor-card
"""
_DROPPED = frozenset(_DROPPED_TEXT.split())
_OTHER_TABLES = ("comments", "members", "snippets", "newsletters", "emails", "email_batches")


def _is_export(name: str, head: bytes) -> bool:
    return bool(_BEGIN.match(head) and _FIELDS.search(head))


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    (name,) = tree.names
    value = json_value(tree.read(name))
    if isinstance(value, Mapping) and "db" in value:
        value = (mappings(value["db"]) or [value["db"]])[0]
    data = value.get("data", value) if isinstance(value, Mapping) else None
    posts = mappings(data.get("posts")) if isinstance(data, Mapping) else []
    if not posts or not isinstance(data, Mapping):
        raise UnreadableError("it holds no posts; export the content again (Settings, Export)")
    for table in _OTHER_TABLES:
        yield LeftOut(reason=f"{table.replace('_', ' ')} left out", count=len(mappings(data.get(table))))
    names = _authors(data)
    language = next(
        (line(row.get("value")) for row in mappings(data.get("settings")) if row.get("key") in {"lang", "locale"}), None
    )
    for number, post in enumerate(posts, 1):
        yield _post(post, str(number), names, language, policy)


def _authors(data: Mapping[str, Any]) -> dict[str, list[tuple[str | None, ...]]]:
    """The names of the authors of each post, by its id, in their order."""
    people = {str(user.get("id")): tuple(line(user.get(key)) for key in ("name", "slug", "email")) for user in _users(data)}
    found: defaultdict[str, list[tuple[str | None, ...]]] = defaultdict(list)
    for row in sorted(mappings(data.get("posts_authors")), key=lambda row: int(row.get("sort_order") or 0)):
        if person := people.get(str(row.get("author_id"))):
            found[str(row.get("post_id"))].append(person)
    for post in mappings(data.get("posts")):
        id = str(post.get("id"))
        inside = mappings(post.get("authors")) or mappings([post.get("primary_author")])
        if not found[id] and inside:
            found[id] = [tuple(line(one.get(key)) for key in ("name", "slug", "email")) for one in inside]
        if not found[id] and (person := people.get(str(post.get("author_id") or post.get("author")))):
            found[id] = [person]
    return dict(found)


def _users(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return mappings(data.get("users"))


def _post(
    post: Mapping[str, Any],
    number: str,
    authors: Mapping[str, list[tuple[str | None, ...]]],
    language: str | None,
    policy: Policy,
) -> Entry:
    slug = line(post.get("slug"))
    names = [policy.named(*person) for person in authors.get(str(post.get("id")), [])]
    status = _STATUS.get(str(post.get("status") or "draft").lower(), "draft")
    visibility = str(post.get("visibility") or "public").lower()
    if status == "published" and visibility != "public":
        status = "protected"
    title = line(post.get("title"))
    facts = Facts(
        title=None if title == "(Untitled)" else title,
        url=line(post.get("canonical_url")) or line(post.get("url")) or (f"/{slug}/" if slug else None),
        author=", ".join(name for name in names if name) or None,
        date=day(post.get("published_at"), post.get("created_at")),
        status=status,
        language=line(post.get("locale")) or line(post.get("language")) or language,
    )
    content = without_classes(_content(post), _DROPPED)
    return Text(name=slug or line(post.get("id")) or number, content=content, kind="fragment", facts=facts)


def _content(post: Mapping[str, Any]) -> str:
    for key, read in (("html", str), ("lexical", lexical_html), ("mobiledoc", mobiledoc_html), ("markdown", markdown_html)):
        if isinstance(stored := post.get(key), str) and stored.strip() and (content := read(stored)).strip():
            return content
    plain = post.get("plaintext")
    return markdown_html(plain) if isinstance(plain, str) else ""


CONTAINER = Container(
    name="ghost",
    title="a Ghost export",
    taken="posts and pages in HTML, or as the editor stores them (Lexical, Mobiledoc, Markdown), with title, authors, date, "
    "address and language",
    left_out="drafts, scheduled posts and posts for members; comments, members, snippets; cards such as buttons, sign-up "
    "forms, bookmarks and products",
    file=_is_export,
    suffixes=frozenset([".json"]),
    entries=_entries,
)
