"""Feeds to documents: RSS, Atom, RDF and CDF through feedparser (bytes only: it never fetches), JSON Feed through orjson."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit
from xml.sax import SAXException

import orjson
from lxml import etree

from tunesmith.core.records import Document, Failure
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.item import Facts, Reading, make_document
from tunesmith.data.ingest.licences import licence_name
from tunesmith.data.ingest.markup import fragment_blocks
from tunesmith.data.ingest.metadata import author_name, iso_date
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import Block, text_from_blocks, without_title
from tunesmith.data.text.words import num_words

__all__ = ["Excerpt", "Survey", "is_json_feed", "joined", "read_feed", "survey_feed"]

_EXCERPT_WORDS = 60
_BROKEN_OFF = re.compile(
    r"(?:\[?(?:…|\.\.\.)\]?|(?:continue reading|read (?:more|on|the rest|the full)|weiterlesen|lire la suite)[^\n]{0,80})\W*$",
    re.IGNORECASE,
)
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
    changed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """An entry that seems to be the beginning of a page: its address, what the feed says of its last change, and of itself."""

    address: str
    changed: str
    about: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a feed leads to: the next page of it, the site that it belongs to, and the pages whose beginnings it gives.

    `tried` says that the next page is not declared, but usual with what made the feed: it may not be there.
    """

    following: str | None
    tried: bool
    home: str | None
    excerpts: tuple[Excerpt, ...]


def survey_feed(data: bytes, *, url: str, content_type: str | None = None) -> Survey:
    """The links of a feed that was fetched from `url`: RFC 5005 (`next`, `prev-archive`), JSON Feed's `next_url`, WordPress."""
    parsed = _parsed(data, content_type, url)
    found: dict[str, Excerpt] = {}
    for entry in parsed.entries:
        if entry.url and _gives_excerpt(entry):
            known = Facts(title=entry.title, author=entry.author, date=entry.date, license=entry.license)
            found.setdefault(entry.url, Excerpt(address=entry.url, changed=entry.changed, about=known))
    following, tried = parsed.following, False
    if following is None and parsed.is_wordpress and parsed.entries:
        following, tried = _next_paged(url), True
    return Survey(following=following, tried=tried, home=parsed.home, excerpts=tuple(found.values()))


def joined(base: str, address: str) -> str:
    """An address as seen from `base`; one that no browser would understand stays as it is."""
    try:
        return str(urljoin(base, address))
    except ValueError:
        return address


def _next_paged(url: str) -> str:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    number = query.get("paged", "1")
    query["paged"] = str(int(number) + 1 if number.isdecimal() and len(number) < 6 else 2)
    return parts._replace(query=urlencode(query), fragment="").geturl()


def is_json_feed(value: object) -> bool:
    """Whether parsed JSON is a JSON Feed of any version."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("items"), list)
        and ("jsonfeed" in str(value.get("version", "")) or "home_page_url" in value)
    )


def read_feed(
    data: bytes,
    *,
    name: str,
    content_type: str | None = None,
    url: str | None = None,
    without: Set[str] = frozenset(),
) -> Reading:
    """One document for each entry that holds words. `content_type` is the HTTP header, which may name the charset.

    `url` is where the feed was fetched; entries whose address is in `without` are left out: their pages are read instead.
    Entries that seem to be excerpts (no full content; under 60 words, or broken off) are documents too, and noted.
    """
    parsed = _parsed(data, content_type, url)
    entries, title = [entry for entry in parsed.entries if entry.url not in without], parsed.title
    if not parsed.entries and not title:
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
    if not parsed.entries:
        failures.append(Failure(source=name, reason=f"the feed '{title}' has no entries"))
    return Reading(documents=tuple(documents), failures=tuple(failures), notes=dict(notes))


def _document(entry: _Entry, name: str, notes: Counter[str]) -> Document:
    _, blocks = without_title(_entry_blocks(entry, notes), entry.title or "")
    text = text_from_blocks(blocks)
    if not num_words(text):
        raise UnreadableError("it holds no text")
    if _is_excerpt(entry, text):
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


def _is_excerpt(entry: _Entry, text: str) -> bool:
    return not entry.has_content and (num_words(text) < _EXCERPT_WORDS or _BROKEN_OFF.search(text[-200:]) is not None)


def _gives_excerpt(entry: _Entry) -> bool:
    if entry.has_content:
        return False
    try:
        return _is_excerpt(entry, text_from_blocks(_entry_blocks(entry, Counter())))
    except UnreadableError:
        return True  # nothing can be made of what the feed gives: its page may do


def _entry_blocks(entry: _Entry, notes: Counter[str]) -> list[Block]:
    if entry.is_html or "</" in entry.content:
        return fragment_blocks(entry.content, notes)
    writer = BlockWriter()
    for part in unescape(entry.content).replace("\r\n", "\n").split("\n\n"):
        writer.paragraph(" ".join(part.split()))
    return writer.blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parsed:
    """A feed of any format."""

    entries: list[_Entry]
    title: str | None
    home: str | None
    following: str | None
    is_wordpress: bool = False


def _parsed(data: bytes, content_type: str | None, url: str | None) -> _Parsed:
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        return _parsed_json(data, url or "")
    return _parsed_xml(data, content_type, url)


def _parsed_xml(data: bytes, content_type: str | None, url: str | None) -> _Parsed:
    import feedparser  # 0.1 s to import: only when there is a feed

    headers = {"content-type": content_type or "", "content-location": url or ""}
    headers = {name: value for name, value in headers.items() if value}
    try:
        parsed = feedparser.parse(io.BytesIO(data), response_headers=headers)
        feed = parsed.get("feed", {})
        entries = [_xml_entry(entry, feed) for entry in parsed.get("entries", [])]
    except _PARSER_ERRORS as error:
        raise UnreadableError(f"the feed cannot be parsed ({type(error).__name__})") from error
    links = {str(link.get("rel")): str(link["href"]) for link in feed.get("links", ()) if link.get("href")}
    following = links.get("next") or links.get("prev-archive")
    return _Parsed(
        entries=entries,
        title=_plain(feed.get("title")),
        home=_plain(feed.get("link")),
        following=joined(url or "", following) if following else None,
        is_wordpress="wordpress" in str(feed.get("generator", "")).lower(),
    )


def _xml_entry(entry: Mapping[str, Any], feed: Mapping[str, Any]) -> _Entry:
    contents: Sequence[Mapping[str, Any]] = [c for c in entry.get("content", ()) if c.get("value")]
    best = max(contents, key=lambda content: len(content["value"]), default=None)
    summary = entry.get("summary_detail") or {}
    chosen: Mapping[str, Any] = best or summary
    license = next((said for source in (entry, feed) for said in _licences(source)), None)
    return _Entry(
        content=str(chosen.get("value") or ""),
        is_html="html" in str(chosen.get("type", "text/html")),
        has_content=best is not None,
        title=_plain(entry.get("title")),
        url=_plain(entry.get("link")),
        author=_plain(entry.get("author")) or _plain(feed.get("author")),
        date=next((day for key in ("published", "created", "updated") if (day := _xml_date(entry, key))), None),
        license=licence_name(_plain(license)),
        changed=str(entry["updated"] if "updated" in entry else entry.get("published", "")),
    )


def _licences(source: Mapping[str, Any]) -> Iterator[str]:
    """What an entry or a feed says of its licence: its own element, a link, the rights."""
    links = (link.get("href") for link in source.get("links", ()) if link.get("rel") == "license")
    yield from (str(said) for said in (source.get("license"), *links, source.get("rights")) if said)


def _xml_date(entry: Mapping[str, Any], key: str) -> str | None:
    if key not in entry:  # feedparser's dict would answer `updated` from `published`, with a warning
        return None
    parsed = entry.get(f"{key}_parsed")
    return f"{parsed.tm_year:04d}-{parsed.tm_mon:02d}-{parsed.tm_mday:02d}" if parsed else iso_date(entry.get(key))


def _parsed_json(data: bytes, url: str) -> _Parsed:
    try:
        feed = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"not valid JSON: {error}") from error
    if not is_json_feed(feed):
        raise UnreadableError("JSON, but no JSON Feed")
    author = author_name(feed.get("authors") or feed.get("author"))
    home, following = _plain(feed.get("home_page_url")), feed.get("next_url")
    return _Parsed(
        entries=list(_json_items(feed["items"], author, url)),
        title=_plain(feed.get("title")),
        home=joined(url, home) if home else None,
        following=joined(url, following) if isinstance(following, str) and following else None,
    )


def _json_items(items: Sequence[object], author: str | None, base: str) -> Iterator[_Entry]:
    for item in items:
        if not isinstance(item, Mapping):
            continue
        markup, plain, summary = (
            item.get(key) if isinstance(item.get(key), str) else "" for key in ("content_html", "content_text", "summary")
        )
        address = _plain(item.get("url")) or _plain(item.get("external_url"))
        yield _Entry(
            content=str(markup or plain or summary),
            is_html=bool(markup),
            has_content=bool(markup or plain),
            title=_plain(item.get("title")),
            url=joined(base, address) if address else None,
            author=author_name(item.get("authors") or item.get("author")) or author,
            date=iso_date(item.get("date_published")) or iso_date(item.get("date_modified")),
            changed=str(item.get("date_modified") or item.get("date_published") or ""),
        )


def _plain(value: object) -> str | None:
    """One line of text out of a title or name that may carry markup."""
    if not isinstance(value, str):
        return None
    text = text_from_blocks(fragment_blocks(value)) if "<" in value else unescape(value)
    return " ".join(text.split()).lstrip("# ") or None
