"""Feeds to documents: RSS, Atom, RDF and CDF through feedparser (bytes only: it never fetches), JSON Feed through orjson."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any
from xml.sax import SAXException

import orjson
from lxml import etree

from tunesmith.core.records import Document, Failure
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.item import Reading, UnreadableError, make_document
from tunesmith.data.ingest.markup import fragment_blocks
from tunesmith.data.ingest.metadata import author_name, iso_date
from tunesmith.data.prose import Block, num_words, text_from_blocks

__all__ = ["is_json_feed", "read_feed"]

_EXCERPT_WORDS = 60
_MAX_FAILURES = 20
# What feedparser and lxml raise on feeds that nobody could have foreseen: the feed's fault, not ours.
_PARSER_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    RecursionError,
    AssertionError,
    LookupError,
    SAXException,
    etree.LxmlError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One entry, as its feed gives it."""

    content: str
    is_html: bool
    has_content: bool
    title: str | None = None
    url: str | None = None
    author: str | None = None
    date: str | None = None
    license: str | None = None


def is_json_feed(value: object) -> bool:
    """Whether parsed JSON is a JSON Feed of any version."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("items"), list)
        and ("jsonfeed" in str(value.get("version", "")) or "home_page_url" in value)
    )


def read_feed(data: bytes, *, name: str, content_type: str | None = None) -> Reading:
    """One document for each entry that holds words. `content_type` is the HTTP header, which may name the charset.

    Entries that seem to be excerpts (no full content, under 60 words) are documents too, and noted.
    """
    entries, title = (
        _json_entries(data) if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" else _xml_entries(data, content_type)
    )
    if not entries and not title:
        raise UnreadableError("no feed: it has neither a title nor an entry")
    documents: list[Document] = []
    failures: list[Failure] = []
    notes: Counter[str] = Counter()
    for number, entry in enumerate(entries, 1):
        try:
            document = _document(entry, name, notes)
        except UnreadableError as error:
            failures.append(Failure(source=name, reason=f"entry {number} ({entry.title or entry.url or 'untitled'}): {error}"))
            continue
        documents.append(document)
    if len(failures) > _MAX_FAILURES:
        more = len(failures) - _MAX_FAILURES
        failures = [*failures[:_MAX_FAILURES], Failure(source=name, reason=f"and {more} more entries that hold no text")]
    if not entries:
        failures.append(Failure(source=name, reason=f"the feed '{title}' has no entries"))
    return Reading(documents=tuple(documents), failures=tuple(failures), notes=dict(notes))


def _document(entry: _Entry, name: str, notes: Counter[str]) -> Document:
    blocks = _entry_blocks(entry, notes)
    if (
        blocks
        and blocks[0].kind == "heading"
        and entry.title
        and blocks[0].text.lstrip("# ").casefold() == entry.title.casefold()
    ):
        blocks = blocks[1:]
    text = text_from_blocks(blocks)
    if not num_words(text):
        raise UnreadableError("it holds no text")
    if not entry.has_content and num_words(text) < _EXCERPT_WORDS:
        notes["feed entries that seem to be excerpts"] += 1
    return make_document(
        name=name,
        text=text,
        title=entry.title,
        url=entry.url,
        author=entry.author,
        date=entry.date,
        license=entry.license,
        extraction="feed",
    )


def _entry_blocks(entry: _Entry, notes: Counter[str]) -> list[Block]:
    if entry.is_html or "</" in entry.content:
        return fragment_blocks(entry.content, notes)
    writer = BlockWriter()
    for part in unescape(entry.content).replace("\r\n", "\n").split("\n\n"):
        writer.paragraph(" ".join(part.split()))
    return writer.blocks


def _xml_entries(data: bytes, content_type: str | None) -> tuple[list[_Entry], str | None]:
    import feedparser  # 0.1 s to import: only when there is a feed

    headers = {"content-type": content_type} if content_type else {}
    try:
        parsed = feedparser.parse(io.BytesIO(data), response_headers=headers)
        feed = parsed.get("feed", {})
        entries = [_xml_entry(entry, feed) for entry in parsed.get("entries", [])]
    except _PARSER_ERRORS as error:
        raise UnreadableError(f"the feed cannot be parsed ({type(error).__name__})") from error
    return entries, _plain(feed.get("title"))


def _xml_entry(entry: Mapping[str, Any], feed: Mapping[str, Any]) -> _Entry:
    contents: Sequence[Mapping[str, Any]] = [c for c in entry.get("content", ()) if c.get("value")]
    best = max(contents, key=lambda content: len(content["value"]), default=None)
    summary = entry.get("summary_detail") or {}
    chosen: Mapping[str, Any] = best or summary
    license = entry.get("license") or feed.get("license") or entry.get("rights") or feed.get("rights")
    return _Entry(
        content=str(chosen.get("value") or ""),
        is_html="html" in str(chosen.get("type", "text/html")),
        has_content=best is not None,
        title=_plain(entry.get("title")),
        url=_plain(entry.get("link")),
        author=_plain(entry.get("author")) or _plain(feed.get("author")),
        date=next((day for key in ("published", "created", "updated") if (day := _xml_date(entry, key))), None),
        license=_plain(license),
    )


def _xml_date(entry: Mapping[str, Any], key: str) -> str | None:
    if key not in entry:  # feedparser's dict would answer `updated` from `published`, with a warning
        return None
    parsed = entry.get(f"{key}_parsed")
    return f"{parsed.tm_year:04d}-{parsed.tm_mon:02d}-{parsed.tm_mday:02d}" if parsed else iso_date(entry.get(key))


def _json_entries(data: bytes) -> tuple[list[_Entry], str | None]:
    try:
        feed = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"not valid JSON: {error}") from error
    if not is_json_feed(feed):
        raise UnreadableError("JSON, but no JSON Feed")
    author = author_name(feed.get("authors") or feed.get("author"))
    return list(_json_items(feed["items"], author)), _plain(feed.get("title"))


def _json_items(items: Sequence[object], author: str | None) -> Iterator[_Entry]:
    for item in items:
        if not isinstance(item, Mapping):
            continue
        markup, plain, summary = (
            item.get(key) if isinstance(item.get(key), str) else "" for key in ("content_html", "content_text", "summary")
        )
        yield _Entry(
            content=str(markup or plain or summary),
            is_html=bool(markup),
            has_content=bool(markup or plain),
            title=_plain(item.get("title")),
            url=_plain(item.get("url")) or _plain(item.get("external_url")),
            author=author_name(item.get("authors") or item.get("author")) or author,
            date=iso_date(item.get("date_published")) or iso_date(item.get("date_modified")),
        )


def _plain(value: object) -> str | None:
    """One line of text out of a title or name that may carry markup."""
    if not isinstance(value, str):
        return None
    text = text_from_blocks(fragment_blocks(value)) if "<" in value else unescape(value)
    return " ".join(text.split()).lstrip("# ") or None
