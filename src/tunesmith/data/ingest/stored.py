"""Values as exports store them: JSON, tables, dates in seconds or words, and HTML with buttons and forms among the prose."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from html import unescape
from typing import Any

import orjson
from lxml import etree, html

from tunesmith.data.ingest.metadata import iso_date
from tunesmith.data.rows.table import table_rows
from tunesmith.data.text.decode import UnreadableError

__all__ = ["columns", "day", "first_line", "json_value", "line", "mappings", "parsed_html", "stored_rows", "without_classes"]

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_MILLISECONDS = 100_000_000_000  # seconds reach this in the year 5138
_MAX_HTML = 8_000_000


def json_value(data: bytes) -> Any:
    """The value of a JSON file; UnreadableError if it is damaged or cut."""
    try:
        return orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise UnreadableError("its JSON is damaged or cut") from error


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; none if it is no list."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def stored_rows(data: bytes, *, name: str) -> Iterator[Mapping[str, str]]:
    """The rows of a table, by the columns of its head in lower case; rows that do not fit the head are passed over."""
    for _, row, problem in table_rows(data, name=name):
        if not problem:
            yield row


def columns(head: bytes) -> frozenset[str]:
    """The columns that the first line of a table names, in lower case."""
    text = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode(errors="replace")
    return frozenset(cell.strip(' \r\t"').lower() for cell in re.split(r"[,;\t]", text))


def line(value: object) -> str | None:
    """One line of text, with entities resolved; None if there is none."""
    return (" ".join(unescape(value).split()) or None) if isinstance(value, str) else None


def first_line(*values: object) -> str | None:
    """The first of the values that is a line of text."""
    return next((found for value in values if (found := line(value))), None)


def day(*values: object) -> str | None:
    """`YYYY-MM-DD` of the first value that names a day: ISO, words, or seconds or milliseconds since 1970."""
    for value in values:
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, int | float) or (isinstance(value, str) and value.isdecimal() and len(value) > 8):
            seconds = float(value)
            seconds = seconds / 1000 if abs(seconds) >= _MILLISECONDS else seconds
            if 0 < seconds < _MILLISECONDS / 2:
                return datetime.fromtimestamp(seconds, UTC).date().isoformat()
        elif found := iso_date(value):
            return found
    return None


def parsed_html(source: str) -> html.HtmlElement:
    """The tree of a page or of a fragment, in an element around it. UnreadableError if it cannot be parsed."""
    if len(source) > _MAX_HTML:
        raise UnreadableError("the page is longer than 8 million characters")
    data = _CONTROL.sub("", source).encode("utf-8", "replace")
    try:
        return html.fromstring(b"<div>" + data + b"</div>", parser=html.HTMLParser(encoding="utf-8"))
    except (etree.LxmlError, ValueError, AssertionError) as error:
        raise UnreadableError(f"its HTML cannot be parsed ({error})") from error


def without_classes(source: str, dropped: frozenset[str]) -> str:
    """HTML without the elements of which a class is one of these, such as the buttons of a newsletter."""
    if not any(name in source for name in dropped):
        return source
    root = parsed_html(source)
    for element in [e for e in root.iter() if isinstance(e.tag, str) and not dropped.isdisjoint(e.get("class", "").split())]:
        if element is not root and element.getparent() is not None:
            element.drop_tree()
    return str(html.tostring(root, encoding="unicode"))
