"""Pages that list posts (front pages, archives, tags) instead of being one: told by teasers that link to other pages."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from lxml import html

from tunesmith.data.ingest.markup_rules import text_of
from tunesmith.data.ingest.page_body import plain_words, seen_elements
from tunesmith.data.text.prose import Block
from tunesmith.data.text.words import num_words

__all__ = ["teasers", "without_teasers"]

_HEADINGS = ("h1", "h2", "h3", "h4", "h5")
_CARDS = frozenset(["article", "li", "div", "section", "a", "tr", "dt", "p"])
_MAX_SEARCHES = 2_000
_MIN_TEASERS, _MIN_LINES = 3, 5
_LONGEST_TEASER = 90  # words; longer ones are posts in full


def teasers(tree: html.HtmlElement, *, url: str | None) -> list[str]:
    """The texts of the teasers on a page, each leading to another address of the site; none if there are too few for a list.

    A teaser is an entry of at most ninety words with a heading that is a link (three are a list), or a line that is mostly a
    link (five are). Menus, side bars and related posts are not looked at.
    """
    host = urlsplit(url or "").netloc
    headed: dict[str, str] = {}
    lines: dict[str, str] = {}
    for parent in seen_elements(tree):
        if len(parent):
            children = [child for child in parent if isinstance(child.tag, str)]
            for known, found in ((headed, _headed(children, host)), (lines, _lines(children, host))):
                for address, text in found.items():
                    known.setdefault(address, text)  # the outermost comes first, and holds the most
    found = headed if len(headed) >= _MIN_TEASERS else {}
    return list((found | lines if len(lines) >= _MIN_LINES else found).values())


def without_teasers(blocks: list[Block], listed: list[str]) -> list[Block]:
    """The blocks that are not words of teasers."""
    whole = plain_words("\n".join(listed))
    parts = {plain_words(part) for text in listed for part in text.split("\n")}
    own: list[Block] = []
    num_searches = 0
    for block in blocks:
        said = plain_words(block.text)
        if said.strip() and said not in parts:
            num_searches += 1
            if num_searches > _MAX_SEARCHES or said not in whole:
                own.append(block)
    return own


def _headed(children: list[html.HtmlElement], host: str) -> dict[str, str]:
    """Entries with a heading that is a link, by address: elements of one kind, or headings with their text below them."""
    cards = [child for child in children if child.tag in _CARDS]
    for tag in {child.tag for child in cards}:
        alike = [child for child in cards if child.tag == tag]
        found = _short((_headline(child, host), _spaced(child)) for child in alike)
        if 2 * len(found) >= len(alike):
            return found
    return _flat(children, host)


def _lines(children: list[html.HtmlElement], host: str) -> dict[str, str]:
    """Lines that are mostly one link, by address, where such lines are three quarters of their list or table."""
    for tag in ("li", "tr", "p", "dt", "div"):
        alike = [child for child in children if child.tag == tag]
        found = _short((_line(child, host), _spaced(child)) for child in alike)
        if found and 4 * len(found) >= 3 * len(alike):
            return found
    return {}


def _short(found: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Those with an address whose text is short enough for a teaser."""
    return {address: text for address, text in found if address and num_words(text) <= _LONGEST_TEASER}


def _headline(card: html.HtmlElement, host: str) -> str:
    """The address of the link that is or holds the heading of a card."""
    links = [card] if card.tag == "a" else list(card.iter("a"))
    for link in links:
        is_head = next(link.iter(*_HEADINGS), None) is not None or any(
            holder.tag in _HEADINGS for holder in link.iterancestors() if holder is not card.getparent()
        )
        if is_head and (address := _post_address(link, host)):
            return address
    return ""


def _line(card: html.HtmlElement, host: str) -> str:
    """The address of the only link of a line such as `3 June 2024: A title`."""
    links = [link for link in ([card] if card.tag == "a" else card.iter("a")) if text_of(link).strip()]
    if len(links) != 1 or num_words(text_of(links[0])) < 2:
        return ""
    whole, linked = len(text_of(card).strip()), len(text_of(links[0]).strip())
    return _post_address(links[0], host) if 2 * linked >= whole or whole - linked < 30 else ""


def _flat(children: list[html.HtmlElement], host: str) -> dict[str, str]:
    """Headings that are links, each with a few words below it, without an element around the two."""
    parts: dict[str, list[str]] = {}
    current = ""
    for child in children:
        link = child.find(".//a") if child.tag in _HEADINGS else None
        if link is not None and 2 * len(text_of(link)) > len(text_of(child)) and (address := _post_address(link, host)):
            current = address
        if current:
            parts.setdefault(current, []).append(_spaced(child))
    found = _short((address, "\n".join(texts)) for address, texts in parts.items())
    return found if len(found) > 1 and 4 * len(found) >= 3 * len(parts) else {}


def _post_address(link: html.HtmlElement, host: str) -> str:
    """Where a link leads if that is another page of the same site; a link without a host is one of the site."""
    address = (link.get("href") or "").strip()
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if parts.scheme not in {"", "http", "https"} or not parts.path.strip("/"):
        return ""
    return address if not parts.netloc or parts.netloc == host or not host else ""


def _spaced(element: html.HtmlElement) -> str:
    """The texts of an element, a line each."""
    return "\n".join(" ".join(part.split()) for part in element.itertext() if part.strip())
