"""The export of a Substack: posts in HTML, and a table that says what is published; never the lists of readers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath

from tunesmith.core.records import Status
from tunesmith.data.ingest.container import Broken, Container, Entry, LeftOut, Text
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.stored import columns, day, line, stored_rows, without_classes
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["CONTAINER"]

_POST = re.compile(r"(?:.*/)?(\d{3,})(?:\.([\w%-]+))?\.html$")
_READERS = re.compile(r"(?:.*/)?(?:\d{3,}(?:\.[\w%-]+)?\.(?:opens|delivers|clicks)|email_list[^/]*|subscribers?[^/]*)\.csv$")
_SENT = re.compile(r"(?:.*/)?(\d{3,})(?:\.[\w%-]+)?\.(?:opens|delivers)\.csv$")
_LISTS = "lists of readers, opens and deliveries (not writing) left out"
_OTHERS_POSTS = frozenset(["restack", "crosspost", "recommendation"])
_PAID = frozenset(["only_paid", "founding", "only_founding", "only_free"])
# Buttons, forms and what is embedded; the marks and texts of footnotes; quotes that repeat the text.
_DROPPED_TEXT = """
button-wrapper button subscription-widget-wrap subscription-widget-wrap-editor subscription-widget captioned-button-wrap
cta-caption install-substack-app-embed community-chat directMessage poll-embed paywall-jump footnote footnote-anchor
embedded-post-wrap embedded-publication-wrap embedded-post digest-post-embed comment tweet twitter-embed bluesky-wrap
instagram instagram-embed youtube-wrap vimeo-wrap spotify-wrap soundcloud-wrap apple-podcast-container native-video-embed
native-audio-embed tiktok-wrap prediction-market-wrap datawrapper-wrap github-gist latex-rendered file-embed-wrapper
image-gallery-embed captioned-image-container image-caption sponsorship-campaign-embed pullquote assistive-text
"""
_DROPPED = frozenset(_DROPPED_TEXT.split())


def _claimed(tree: Tree) -> Collection[str]:
    table = _table(tree)
    posts = [name for name in tree.names if name.count("/") <= 1 and _POST.match(name)]
    if table is None and not (posts and any(_READERS.match(name) for name in tree.names if name.count("/") <= 1)):
        return ()
    lists = [name for name in tree.names if name.count("/") <= 1 and _READERS.match(name)]
    return [*([table] if table else []), *posts, *lists]


def _table(tree: Tree) -> str | None:
    for name in ("posts.csv", "posts/posts.csv"):
        if name in tree and {"post_id", "title"} <= columns(tree.head(name)):
            return name
    return None


def _entries(tree: Tree, policy: Policy) -> Iterator[Entry]:
    table = _table(tree)
    rows = {row["post_id"]: row for row in stored_rows(tree.read(table), name=table)} if table else {}
    rows |= {key.split(".")[0]: row for key, row in rows.items()}
    sent = {match[1] for name in tree.names if (match := _SENT.match(name))}
    if table is None:
        reason = "it is missing, so that posts without a list of deliveries count as drafts; unpack the whole export"
        yield Broken(name="posts.csv", reason=reason)
    yield LeftOut(reason=_LISTS, count=sum(bool(_READERS.match(name)) for name in tree.names))
    for name in tree.names:
        if (match := _POST.match(name)) is None:
            continue
        row = rows.get(PurePosixPath(name).stem, rows.get(match[1], {}))
        if row.get("type", "").lower() in _OTHERS_POSTS:
            yield LeftOut(reason="posts of others that were passed on left out")
            continue
        if table is not None and not row:
            row = {"is_published": "false"}
        try:
            content = without_classes(decode(tree.read(name)), _DROPPED)
        except UnreadableError as error:
            yield Broken(name=name, reason=str(error))
            continue
        facts = _facts(row, slug=match[2], sent=match[1] in sent or bool(table))
        yield Text(name=name, content=content, kind="fragment", facts=facts)


def _facts(row: Mapping[str, str], *, slug: str | None, sent: bool) -> Facts:
    published = row.get("is_published", "true").strip().lower() not in {"false", "0", "no", ""} and sent
    status: Status = "published" if published else "draft"
    if published and row.get("audience", "").strip().lower() in _PAID:
        status = "protected"
    title = line(row.get("title")) or (slug.replace("-", " ").capitalize() if slug else None)
    return Facts(title=title, date=day(row.get("post_date"), row.get("email_sent_at")), url=_url(slug), status=status)


def _url(slug: str | None) -> str | None:
    return f"/p/{slug}" if slug else None


CONTAINER = Container(
    name="substack",
    title="a Substack export",
    taken="newsletters, podcast notes, threads and pages, with title, date and state",
    left_out="drafts and posts for paying readers; lists of readers, opens and deliveries; subscribe buttons and forms, "
    "embedded posts, captions, footnotes, pull quotes",
    folder=_claimed,
    entries=_entries,
)
