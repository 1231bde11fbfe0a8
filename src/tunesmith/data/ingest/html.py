"""Web pages to documents: trafilatura finds the article and its metadata, our block reader keeps headings, lists and quotes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lxml import etree

from tunesmith.data.ingest.item import Reading, make_document
from tunesmith.data.ingest.licences import licence_name, licence_of_page
from tunesmith.data.ingest.markup import fragment_blocks, tree_blocks
from tunesmith.data.ingest.metadata import iso_date, title_from_name
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import Block, text_from_blocks, without_title
from tunesmith.data.text.words import num_words

__all__ = ["read_html"]

_TAGS = {"list": "ul", "item": "li", "quote": "blockquote", "lb": "br", "code": "pre", "del": "span", "hi": "span", "ref": "a"}
_MIN_WORDS = 5
_MAX_CHARACTERS = 8_000_000
# What parsing libraries raise on pages that nobody foresaw: the page's fault, not ours.
_PARSER_ERRORS = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, AssertionError, etree.LxmlError)


def read_html(text: str, *, name: str, url: str | None = None) -> Reading:
    """One document from one page: its article without menus, comments, tables, code. UnreadableError if there is no article."""
    from trafilatura import bare_extraction  # 0.4 s to import: only when there is a page

    if len(text) > _MAX_CHARACTERS:
        raise UnreadableError("the page is longer than 8 million characters")
    notes: Counter[str] = Counter()
    try:
        found = bare_extraction(text, url=url, include_comments=False, include_tables=False, with_metadata=True)
    except _PARSER_ERRORS as error:
        raise UnreadableError(f"the page cannot be parsed ({type(error).__name__})") from error
    blocks = _blocks(found.body, notes) if found is not None and found.body is not None else []
    if num_words(text_from_blocks(blocks)) < _MIN_WORDS:
        blocks = fragment_blocks(text, notes)
    if num_words(text_from_blocks(blocks)) < _MIN_WORDS:
        raise UnreadableError("no article was found in the page")
    title, content = without_title(blocks, _one_line(getattr(found, "title", None)))
    document = make_document(
        name=name,
        text=text_from_blocks(content),
        title=title or title_from_name(name),
        url=url or _one_line(getattr(found, "url", None)),
        author=_one_line(getattr(found, "author", None)),
        date=iso_date(getattr(found, "date", None)),
        license=licence_of_page(text) or licence_name(_one_line(getattr(found, "license", None))),
        extraction="html",
    )
    return Reading(documents=(document,), notes=dict(notes))


def _blocks(body: Any, notes: Counter[str]) -> list[Block]:
    """Trafilatura names its elements after TEI; the block reader knows HTML."""
    for element in body.iter():
        if not isinstance(element.tag, str):
            continue
        if element.tag == "head":
            rend = str(element.get("rend") or "h2")
            element.tag = rend if rend in {"h1", "h2", "h3", "h4", "h5", "h6"} else "h2"
        elif element.tag == "list":
            element.tag = "ol" if element.get("rend") == "ol" else "ul"
        elif element.tag == "code":
            element.tag = "pre" if "\n" in "".join(element.itertext()) else "span"
        else:
            element.tag = _TAGS.get(element.tag, element.tag)
    return tree_blocks(body, notes)


def _one_line(value: object) -> str | None:
    return (" ".join(value.split()) or None) if isinstance(value, str) else None
