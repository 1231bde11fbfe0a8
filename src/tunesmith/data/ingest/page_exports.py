"""Pages that a word processor or notebook wrote (Google Docs, Notion, Word, LibreOffice): all of the page is the document."""

from __future__ import annotations

import re
from collections import Counter

from lxml import html

from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.markup import tree_blocks
from tunesmith.data.ingest.markup_rules import drop, drop_notes, lay_open, text_of
from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.text.prose import Block

__all__ = ["export_blocks", "is_export"]

_GENERATOR = re.compile(r"\s*(?:LibreOffice|OpenOffice|Microsoft Word|Apache POI|Cocoa HTML Writer)\b", re.IGNORECASE)
_GOOGLE_STYLE = re.compile(r"lst-kix_|themes\.googleusercontent\.com/fonts/css")
_TITLES = ("title", "MsoTitle", "page-title", "doc-title")
_DATE_NAMES = ("published", "publish date", "date published", "publication date", "date", "created", "created time")


def is_export(tree: html.HtmlElement) -> bool:
    """Whether a program for writing made the page, by the marks of Google Docs and Notion or the generator that it names."""
    body = tree.find(".//body")
    if body is not None and "doc-content" in (body.get("class") or "").split():
        return True
    if any(
        _GENERATOR.match(meta.get("content") or "")
        for meta in tree.iter("meta")
        if (meta.get("name") or "").lower() == "generator"
    ):
        return True
    is_site = next(tree.iter("nav", "script", "main"), None) is not None  # such as one with fonts of Google
    if not is_site and any(_GOOGLE_STYLE.search(style.text or "") for style in tree.iter("style")):
        return True
    article = tree.find("./body/article") if tree.tag == "html" else None
    if article is None or "page" not in (article.get("class") or "").split():
        return False
    return article.find("./div[@class='page-body']") is not None


def export_blocks(tree: html.HtmlElement, facts: Facts, notes: Counter[str]) -> list[Block]:
    """All blocks of the page; its title paragraph and properties go into `facts`. `tree` is changed."""
    _take_title(tree, facts)
    for table in list(tree.iter("table")):
        if "properties" in (table.get("class") or "").split():
            _take_properties(table, facts)
            drop(table)
    for banner in list(tree.iter("div")):
        if banner.get("id") in {"banners", "footer"}:  # around a Google document that was published to the web
            drop(banner)
    for paragraph in list(tree.iter("p", "li")):
        targets = [link.get("href") or "" for link in paragraph.iter("a")]
        if targets and all(target.startswith(("#h.", "#_Toc", "#__RefHeading")) for target in targets):
            drop(paragraph)  # a line of the table of contents
    drop_notes(tree, notes)
    lay_open(tree)
    body = tree.find(".//body")
    return tree_blocks(body if body is not None else tree, notes)


def _take_title(tree: html.HtmlElement, facts: Facts) -> None:
    for element in tree.iter("p", "h1", "h2", "div"):
        if set(_TITLES) & set((element.get("class") or "").split()) or element.get("id") == "title":
            if title := " ".join(text_of(element).split()):
                facts["title"] = title
                drop(element)
            return


def _take_properties(table: html.HtmlElement, facts: Facts) -> None:
    """The properties of a page of Notion: dates, authors and the state of publication are known by their names."""
    rows = {
        " ".join(text_of(row[0]).split()).casefold(): " ".join(text_of(row[1]).split())
        for row in table.iter("tr")
        if len(row) > 1
    }
    day = next((day for name in _DATE_NAMES if (day := iso_date(rows.get(name, "").lstrip("@")))), None)
    if day:
        facts["date"], facts["date_origin"] = day, "metadata"
    if author := rows.get("author") or rows.get("authors"):
        facts["author"] = author
    if rows.get("status", "").casefold() in {"draft", "in draft", "not started", "idea"}:
        facts["status"] = "draft"
