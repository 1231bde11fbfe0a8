"""What a page states about itself: title, author, date, address, language and licence, from its metadata alone.

Nothing is guessed: a date in the text, the footer, a style sheet or an XML namespace is not the date of the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from html import unescape
from typing import Any
from urllib.parse import urljoin, urlsplit

from lxml import html

from tunesmith.core.records import DateOrigin
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.metadata import author_name, iso_date

__all__ = ["page_facts", "says_article"]

_PUBLISHED_TEXT = """
article:published_time og:article:published_time og:published_time article:published published_time datepublished
date.published publish-date publish_date publishdate pubdate published citation_publication_date citation_date
citation_online_date parsely-pub-date sailthru.date dc.date.issued dcterms.issued dcterms.available dc.date.published
prism.publicationdate bt:pubdate shareaholic:article_published_time date dc.date dcterms.date article.published
og:pubdate article:publish_date originalpublicationdate
"""
_PUBLISHED = tuple(_PUBLISHED_TEXT.split())
_CREATED_TEXT = """
dc.date.created dcterms.created article.created datecreated created creation_date citation_year_month_day
"""
_CREATED = tuple(_CREATED_TEXT.split())
_MODIFIED_TEXT = """
article:modified_time og:updated_time og:article:modified_time datemodified dcterms.modified dc.date.modified
"""
_MODIFIED = tuple(_MODIFIED_TEXT.split())
_AUTHORS_TEXT = """
author article:author og:article:author dc.creator dcterms.creator dc.author citation_author parsely-author
sailthru.author article.author byl
"""
_AUTHORS = tuple(_AUTHORS_TEXT.split())
_TITLES_TEXT = """
og:title twitter:title dc.title dcterms.title citation_title parsely-title sailthru.title
"""
_TITLES = tuple(_TITLES_TEXT.split())
_ADDRESS_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-/_]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")
_EARLIEST = "1971-01-01"  # the zero of clocks and of site generators (1970, year 1) is a missing date
_SEPARATOR = re.compile(r"\s+(?:[|–—·•«»]|::|-)\s+")
_ARTICLE_TYPE = re.compile(r"(?:Article|Posting|Report|Review|Recipe|HowTo|CreativeWork|BlogPost|Book|Chapter)$")
_TIME_MARKS_TEXT = """
published entry-date post-date dt-published pubdate date-published posted-on publish-date
"""
_TIME_MARKS = frozenset(_TIME_MARKS_TEXT.split())
_OUTSIDE = frozenset(["nav", "aside", "footer", "svg"])
_COMMENTS = re.compile(r"\b(?:comments?|respond|related|sidebar|widget)\b", re.IGNORECASE)
_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
_MAX_JSON = 2_000_000
_MAX_NODES = 2_000
_MAX_NAME = 120


def page_facts(tree: html.HtmlElement, *, url: str | None, name: str) -> Facts:
    """What the page states. `url`: where it was fetched from; `name`: that of its file, which may hold a date.

    A date comes from meta elements, JSON-LD, a `<time>` that is marked as the time of publication, the address, or the
    name of the file, in this order; `date_origin` says from which.
    """
    meta = _meta(tree)
    node = _article_node(tree)
    address = _canonical(tree, meta, url)
    stated, origin = _date(tree, meta, node, address, name)
    return Facts(
        title=_title(tree, meta, node),
        author=_author(tree, meta, node),
        date=stated,
        date_origin=origin,
        url=address,
        language=_language(tree, meta),
    )


def says_article(tree: html.HtmlElement) -> bool:
    """Whether the metadata call the page an article."""
    kinds = [meta.get("content") or "" for meta in tree.iter("meta") if meta.get("property") == "og:type"]
    return "article" in kinds or any(_ARTICLE_TYPE.search(kind) for kind in _kinds(_article_node(tree)))


def _one_line(value: object) -> str | None:
    """Text on one line, also if its entities were escaped twice; None for nothing, or for what is not text."""
    return (" ".join(unescape(value).split()) or None) if isinstance(value, str) else None


def _meta(tree: html.HtmlElement) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for element in tree.iter("meta"):
        content = _one_line(element.get("content"))
        for key in ("property", "name", "itemprop"):
            named = (element.get(key) or "").strip().lower()
            if named and content:
                found.setdefault(named, []).append(content)
    return found


def _article_node(tree: html.HtmlElement) -> Mapping[str, Any]:
    """The JSON-LD node that describes the article, else the page; authors that it names by `@id` are put in their place."""
    nodes: list[Mapping[str, Any]] = []
    for script in tree.iter("script"):
        if "ld+json" in (script.get("type") or "").lower() and script.text and len(script.text) <= _MAX_JSON:
            try:
                parsed = json.loads(script.text.strip().rstrip(";"), strict=False)
            except (ValueError, RecursionError):
                continue  # a damaged description states nothing
            nodes += _nodes(parsed)
    by_id = {node["@id"]: node for node in nodes if isinstance(node.get("@id"), str) and "name" in node}
    article = next((node for node in nodes if any(_ARTICLE_TYPE.search(kind) for kind in _kinds(node))), None)
    page = next((node for node in nodes if "WebPage" in _kinds(node)), None)
    chosen = {**(page or {}), **(article or {})}
    if "author" in chosen:
        chosen["author"] = _resolved(chosen["author"], by_id)
    return chosen


def _nodes(parsed: object) -> Iterator[Mapping[str, Any]]:
    waiting, seen = [parsed], 0
    while waiting and seen < _MAX_NODES:
        node = waiting.pop(0)
        seen += 1
        if isinstance(node, list):
            waiting[:0] = node
        elif isinstance(node, Mapping):
            yield node
            waiting[:0] = [node[key] for key in ("@graph", "mainEntity") if isinstance(node.get(key), list | Mapping)]


def _kinds(node: Mapping[str, Any]) -> list[str]:
    kind = node.get("@type")
    return [str(entry).rpartition("/")[2] for entry in (kind if isinstance(kind, list) else [kind])]


def _resolved(value: object, by_id: Mapping[str, Mapping[str, Any]]) -> object:
    if isinstance(value, list):
        return [_resolved(entry, by_id) if not isinstance(entry, list) else None for entry in value]
    if isinstance(value, Mapping) and "name" not in value:
        return by_id.get(str(value.get("@id")))
    return value


def _canonical(tree: html.HtmlElement, meta: Mapping[str, list[str]], url: str | None) -> str | None:
    """The address that the page gives itself, else the one that it was fetched from."""
    links = [link.get("href") for link in tree.iter("link") if "canonical" in (link.get("rel") or "").lower().split()]
    for stated in (*links, *meta.get("og:url", ())):
        try:
            whole = str(urljoin(url or "", (stated or "").strip()))
            parts = urlsplit(whole)
        except ValueError:
            continue
        if stated and parts.scheme in {"http", "https"} and parts.netloc:
            return whole
    return url


def _date(
    tree: html.HtmlElement, meta: Mapping[str, list[str]], node: Mapping[str, Any], address: str | None, name: str
) -> tuple[str | None, DateOrigin | None]:
    def of_meta(keys: tuple[str, ...]) -> Iterator[str]:
        return (value for key in keys for value in meta.get(key, ()))

    stated = (
        _first_day([node.get("datePublished"), *of_meta(_PUBLISHED)])
        or _first_day(_published_times(tree))
        or _first_day([node.get("dateCreated"), *of_meta(_CREATED), node.get("dateModified"), *of_meta(_MODIFIED)])
    )
    if stated:
        return stated, "metadata"
    if address and (day := _day_in(urlsplit(address).path)):
        return day, "address"
    if day := _day_in(name.partition("?")[0]):
        return day, "name"
    return None, None


def _first_day(values: list[Any]) -> str | None:
    days = (iso_date(value) for value in values)
    return next((day for day in days if day and day >= _EARLIEST), None)


def _day_in(path: str) -> str | None:
    """A whole day in an address or file name: /2019/05/12/, 2019-05-12 or 20190512."""
    for match in _ADDRESS_DATE.finditer(path):
        try:
            return date(int(match[1]), int(match[3]), int(match[4])).isoformat()
        except ValueError:
            continue  # 31 February
    return None


def _published_times(tree: html.HtmlElement) -> list[str]:
    """Times marked as that of publication; else the only `<time>` in the header of the only article."""
    marked: list[str] = []
    for element in tree.iter("time", "abbr", "span", "p", "div"):
        stated = element.get("datetime") or (element.get("title") if element.tag == "abbr" else element.get("content"))
        if not stated or _is_outside(element):
            continue
        marks = {mark.lower() for mark in (element.get("class") or "").split()}
        holder = element.getparent()
        around = set((holder.get("class") or "").lower().split()) if holder is not None and element.tag == "time" else set()
        is_update = "updated" in marks or "datemodified" in (element.get("itemprop") or "").lower()
        if (
            "datepublished" in (element.get("itemprop") or "").lower().split()
            or "pubdate" in element.attrib
            or marks & _TIME_MARKS
            or (around & _TIME_MARKS and not is_update)
        ):
            marked.append(stated)
    if marked:
        return marked
    articles = [article for article in tree.iter("article") if next(article.iterancestors("article"), None) is None]
    if len(articles) != 1:
        return []
    times = [
        time.get("datetime") for header in articles[0].iter("header") for time in header.iter("time") if time.get("datetime")
    ]
    return times if len(set(times)) == 1 else []


def _is_outside(element: html.HtmlElement) -> bool:
    return any(
        (ancestor.tag in _OUTSIDE and (ancestor.tag != "footer" or next(ancestor.iterancestors("article"), None) is None))
        or _COMMENTS.search(f"{ancestor.get('class') or ''} {ancestor.get('id') or ''}")
        for ancestor in element.iterancestors()
        if ancestor.tag not in {"body", "html"}  # these carry marks of the theme
    )


def _title(tree: html.HtmlElement, meta: Mapping[str, list[str]], node: Mapping[str, Any]) -> str | None:
    stated = _one_line(node.get("headline")) or next((meta[key][0] for key in _TITLES if key in meta), None)
    head = tree.find(".//head/title")
    whole = _one_line(head.text_content()) if head is not None else None
    heads = [text for heading in tree.iter("h1") if (text := _one_line(heading.text_content())) and not _is_outside(heading)]
    site = (meta.get("og:site_name") or [""])[0].casefold()
    if stated is None and whole:
        stated = next((text for text in heads if text.casefold() in whole.casefold() and text.casefold() != site), whole)
    if stated is None:
        return heads[0] if len(heads) == 1 else None
    return _without_site(stated, site)


def _without_site(title: str, site: str) -> str:
    """`Rain | My Blog` is `Rain` where the page names its site, or where a bar stands between the two."""
    parts = _SEPARATOR.split(title)
    if site and len(parts) > 1:
        for end in (parts[-1], parts[0]):
            if end.casefold() == site:
                start = title.casefold().find(site)
                rest = title[:start] if end == parts[-1] else title[start + len(site) :]
                return rest.strip(" |–—·•«»:-") or title
    first, bar, rest = title.partition(" | ")
    return first.strip() if bar and rest and len(first.split()) > 1 else title


def _author(tree: html.HtmlElement, meta: Mapping[str, list[str]], node: Mapping[str, Any]) -> str | None:
    if found := _names([author_name(node.get("author"))]):
        return found
    for key in _AUTHORS:
        if found := _names(meta.get(key, [])):
            return found
    marked: list[str | None] = []
    for element in tree.iter("a", "span", "div", "p", "address", "cite"):
        classes = set((element.get("class") or "").lower().split())
        if _is_outside(element):
            continue
        if "author" in (element.get("rel") or "").lower().split() or "p-author" in classes or {"author", "vcard"} <= classes:
            marked.append(_one_line(element.text_content()))
        elif "author" in (element.get("itemprop") or "").lower().split():
            named = element.xpath(".//*[@itemprop='name']")
            marked.append(_one_line(named[0].get("content") or named[0].text_content() if named else element.text_content()))
    return _names(marked[:1])


def _names(values: Sequence[str | None]) -> str | None:
    """Names on one line; addresses of profiles and whole sentences are no names."""
    names: list[str] = []
    for value in values:
        name = re.sub(r"^(?:by|von|par|por|di)\s+", "", value or "", flags=re.IGNORECASE).strip(" ,;·|")
        if name and len(name) <= _MAX_NAME and "://" not in name and name not in names:
            names.append(name)
    return ", ".join(names) or None


def _language(tree: html.HtmlElement, meta: Mapping[str, list[str]]) -> str | None:
    root = tree if tree.tag == "html" else tree.find(".//html")
    said = (
        [root.get("lang"), root.get("{http://www.w3.org/XML/1998/namespace}lang"), root.get("xml:lang")]
        if root is not None
        else []
    )
    for value in (*said, *meta.get("content-language", ()), *meta.get("og:locale", ())):
        if value and (match := _TAG.fullmatch(value.strip())):
            return match[0].replace("_", "-")
    return None
