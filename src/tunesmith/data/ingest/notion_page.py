"""One page of a Notion export: its title, its properties and its body."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lxml import html

from tunesmith.core.records import Status
from tunesmith.data.ingest.stored import day, line, parsed_html
from tunesmith.data.text.decode import UnreadableError

__all__ = ["Page", "html_page", "is_notion_html", "markdown_page"]

_ARTICLE = re.compile(rb"<article id=\"[0-9a-f-]{32,36}\" class=\"page ")
_DROPPED_TEXT = """
table_of_contents bookmark equation notion-text-equation-token katex link-to-page collection-content source icon
page-description image discussion comments comment
"""
_DROPPED = frozenset(_DROPPED_TEXT.split())
_PUBLISHED_TEXT = """
published publishdate publisheddate publishedon publishedat datepublished publicationdate pubdate postdate date datum fecha
data veröffentlicht veröffentlichtam publiéle datedepublication publicado публикация 公開日 日付 日期
"""
_CREATED_TEXT = """
created createdtime createdat createdon datecreated creationdate erstellt erstelltam créé créele datedecréation creado
creadoel fechadecreación criado criadoem creato datadicreazione gemaakt gemaaktop 作成日時 作成日 创建时间 생성일시
"""
_DONE_TEXT = """
published publish live posted done complete completed public sent released shipped yes true veröffentlicht
"""
_DRAFTS_TEXT = """
draft drafts drafting wip idea ideas inprogress notstarted todo backlog inreview review editing writing outline notpublished
unpublished no false entwurf brouillon borrador rascunho bozza concept ready scheduled
"""
_PUBLISHED, _CREATED = tuple(_PUBLISHED_TEXT.split()), tuple(_CREATED_TEXT.split())
_DONE, _DRAFTS = frozenset(_DONE_TEXT.split()), frozenset(_DRAFTS_TEXT.split())
_AUTHOR = ("author", "authors", "createdby", "writer", "autor", "auteur", "autore", "erstelltvon", "writtenby")
_STATE = ("status", "state", "stage", "publishstatus", "estado", "statut", "stato", "publish", "published?", "draft")
_URL = ("url", "link", "permalink", "canonicalurl", "canonical", "publishedurl")
_OTHER_KEYS = ("tags", "tag", "type", "category", "lasteditedtime", "slug")
_KEYS = frozenset([*_PUBLISHED, *_CREATED, *_AUTHOR, *_STATE, *_URL, *_OTHER_KEYS])
_LINE = re.compile(r"([^:\n]{1,60}): ?(.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page without its head; `content` is HTML or Markdown, as the page is."""

    title: str | None
    content: str
    date: str | None
    authors: tuple[str | None, ...]
    status: Status
    url: str | None


def is_notion_html(head: bytes) -> bool:
    """Whether a page begins as Notion writes them."""
    return _ARTICLE.search(head) is not None


def html_page(text: str) -> Page:
    """A page in HTML. UnreadableError if it has no body."""
    root = parsed_html(text)
    body = next(iter(root.xpath("//div[contains(concat(' ', @class, ' '), ' page-body ')]")), None)
    if body is None:
        raise UnreadableError("it does not look like a page of Notion; export it again")
    properties: dict[str, str] = {}
    for row in root.xpath("//table[contains(@class, 'properties')]//tr"):
        cells = [" ".join(cell.text_content().split()) for cell in row if cell.tag in {"th", "td"}]
        if len(cells) == 2:
            stated = row.get("class", "").rpartition("property-row-")[2]
            kind = {"created_time": "created", "created_by": "createdby"}.get(stated, cells[0])
            if row.xpath(".//*[contains(@class, 'checkbox-on')]"):
                cells[1] = "yes"
            properties.setdefault(kind, cells[1])
    for element in list(body.iter()):
        classes = element.get("class", "").split() if isinstance(element.tag, str) else []
        if "callout" in classes:
            element.tag = "div"
        elif not _DROPPED.isdisjoint(classes) and element.getparent() is not None:
            element.drop_tree()
    _join_lists(body)
    title = next((line(heading.text_content()) for heading in root.xpath("//h1[@class='page-title']")), None)
    return _page(title, html.tostring(body, encoding="unicode"), properties)


def _join_lists(body: html.HtmlElement) -> None:
    """Notion writes a list for every item: neighbours of one kind become one list."""
    for element in list(body.iter("ul", "ol")):
        before = element.getprevious()
        if before is None or before.tag != element.tag or before.get("class") != element.get("class"):
            continue
        if not (before.tail or "").strip():
            before.extend(list(element))
            element.drop_tree()


def markdown_page(text: str, *, columns: Collection[str]) -> Page:
    """A page in Markdown; `columns`: those of the database that it is a row of, whose values then stand below its title."""
    text = text.replace("\r\n", "\n").lstrip("\ufeff\n")
    first, _, rest = text.partition("\n")
    title = line(first[2:]) if first.startswith("# ") else None
    if title is None:
        rest = text
    head, _, below = rest.lstrip("\n").partition("\n\n")
    rows = [_LINE.match(row) for row in head.split("\n")]
    properties = {row[1].strip(): row[2].strip() for row in rows if row}
    known = [key for key in properties if key.lower() in columns or _plain(key) in _KEYS]  # a table may hide some columns
    is_head = bool(known) and all(rows) and (len(known) == len(properties) if columns else 2 * len(known) > len(properties))
    return _page(title, below if is_head else rest, properties if is_head else {})


def _page(title: str | None, content: str, properties: Mapping[str, str]) -> Page:
    stated = {_plain(key): value for key, value in properties.items() if value}
    dates = [day(stated[key].lstrip("@").split("→")[0]) for key in (*_PUBLISHED, *_CREATED) if key in stated]
    return Page(
        title=title,
        content=content,
        date=next((found for found in dates if found), None),
        authors=tuple(stated.get(key) for key in _AUTHOR),
        status=_status(stated),
        url=next((stated[key] for key in _URL if stated.get(key, "").startswith("http")), None),
    )


def _status(stated: Mapping[str, str]) -> Status:
    words = {_plain(stated[key]) for key in _STATE if key in stated and key != "draft"}
    if _plain(stated.get("draft", "")) in {"yes", "true"} or (words & _DRAFTS and not words & _DONE):
        return "draft"
    return "private" if words & {"private", "archived", "internal"} else "published"


def _plain(key: str) -> str:
    return re.sub(r"[\s_\-'’]+", "", key).casefold()
