"""EPUB books to documents: one a chapter, in the order of the spine, through the same markup reader as web pages."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

from lxml import etree

from tunesmith.core.records import Document, Failure
from tunesmith.data.ingest.item import Reading, make_document
from tunesmith.data.ingest.markup import fragment_blocks
from tunesmith.data.ingest.metadata import iso_date, title_from_name
from tunesmith.data.ingest.package import Package, open_package, read_xml
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.decode import UnreadableError, decode
from tunesmith.data.text.prose import text_from_blocks
from tunesmith.data.text.words import num_words

__all__ = ["READER", "read_epub"]

_CONTAINER = "META-INF/container.xml"
_PAGES = frozenset(["application/xhtml+xml", "text/html", "text/x-oeb1-document"])
_MIN_WORDS = 20  # a cover, a title page, a dedication
_MAX_CHAPTER_BYTES = 8 * 1024 * 1024


class _Book(NamedTuple):
    """What the package document says, and the paths of the chapters in reading order."""

    title: str | None
    author: str | None
    date: str | None
    license: str | None
    chapters: tuple[str, ...]


def read_epub(data: bytes, *, name: str) -> Reading:
    """One document a chapter: `title` is the chapter's heading, or the book's title and the chapter's number.

    Covers and other parts of fewer than 20 words are left out, and noted. UnreadableError for a book that is encrypted,
    damaged, or holds no text.
    """
    documents: list[Document] = []
    failures: list[Failure] = []
    notes: Counter[str] = Counter()
    with open_package(data) as package:
        book = _book(package)
        for number, path in enumerate(book.chapters, 1):
            try:
                document = _chapter(package, book, path, number, name, notes)
            except UnreadableError as error:
                failures.append(Failure(source=name, reason=f"chapter {number} ({posixpath.basename(path)}): {error}"))
                continue
            if document is None:
                notes["parts of books under 20 words left out"] += 1
            else:
                documents.append(document)
    if not documents:
        raise UnreadableError(failures[0].reason if failures else "no chapter of the book holds text")
    return Reading(documents=tuple(documents), failures=tuple(failures), notes=dict(notes))


def _book(package: Package) -> _Book:
    path = read_xml(package.read(_CONTAINER)).find(".//{*}rootfile")
    if path is None or not path.get("full-path"):
        raise UnreadableError("its container names no book")
    place = unquote(path.get("full-path", ""))
    root = read_xml(package.read(place))
    pages = {
        item.get("id"): posixpath.normpath(posixpath.join(posixpath.dirname(place), unquote(item.get("href", ""))))
        for item in root.iterfind("{*}manifest/{*}item")
        if item.get("media-type") in _PAGES and "nav" not in item.get("properties", "").split()
    }
    order = [ref.get("idref") for ref in root.iterfind("{*}spine/{*}itemref") if ref.get("linear") != "no"]
    chapters = tuple(dict.fromkeys(pages[id] for id in order if id in pages))
    _refuse_encrypted(package, chapters)
    return _Book(
        title=next(_said(root, "title"), None),
        author=", ".join(dict.fromkeys(_said(root, "creator"))) or None,
        date=next((day for text in _said(root, "date") if (day := iso_date(text))), None),
        license=next(_said(root, "rights"), None),
        chapters=chapters,
    )


def _said(root: etree._Element, what: str) -> Iterator[str]:
    for element in root.iterfind(f"{{*}}metadata//{{*}}{what}"):
        if text := " ".join("".join(element.itertext()).split()):
            yield text


def _refuse_encrypted(package: Package, chapters: tuple[str, ...]) -> None:
    """Copy protection lists the chapters it has encrypted; a book that only hides its fonts is open."""
    if "META-INF/encryption.xml" not in package:
        return
    listed = read_xml(package.read("META-INF/encryption.xml")).iterfind(".//{*}CipherReference")
    hidden = {posixpath.normpath(unquote(reference.get("URI", ""))) for reference in listed}
    if hidden & set(chapters):
        raise UnreadableError("it is encrypted (copy protection)")


def _chapter(package: Package, book: _Book, path: str, number: int, name: str, notes: Counter[str]) -> Document | None:
    text = decode(package.read(path, limit=_MAX_CHAPTER_BYTES))
    start = text.lower().find("<body")
    blocks = fragment_blocks(text[max(start, 0) :], notes)
    title = None
    if blocks and blocks[0].kind == "heading":
        title, blocks = blocks[0].text.lstrip("# "), blocks[1:]
        if blocks and blocks[0].kind == "heading" and num_words(title) <= 2:  # `Chapter 4`, then what it is called
            title, blocks = f"{title}: {blocks[0].text.lstrip('# ')}", blocks[1:]
    prose = text_from_blocks(blocks)
    if num_words(prose) < _MIN_WORDS:
        return None
    return make_document(
        name=name,
        text=prose,
        title=title or f"{book.title or title_from_name(name) or 'Book'}, part {number}",
        author=book.author,
        date=book.date,
        license=book.license,
        extraction="epub",
    )


READER = Reader(kind="epub", read=read_epub, member="META-INF/container.xml", promises={".epub": "book"})
