"""What a text says about itself, whatever the style: title, author, dates of all kinds, address, licence, language, state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any

from dateutil import parser as dateutil_parser

from tunesmith.core.records import DateOrigin, Status
from tunesmith.data.ingest.item import Facts
from tunesmith.data.ingest.publication import plain_key, status_of

__all__ = ["Metadata", "author_name", "iso_date", "stated_metadata", "title_from_name"]

_NAME_DATE = re.compile(r"(?<!\d)(\d{4})([-_.])(\d{2})\2(\d{2})(?!\d)")
_FOLDER_DATE = re.compile(r"(?:^|/)(\d{4})/(\d{1,2})/(\d{1,2})(?=/)")
_DATES = ("date", "created", "datecreated", "createdtime", "creationdate", "lastmod")
_ENDS = ("expirydate", "unpublishdate")  # of Hugo: on no page from that day on
_PUBLIC_DATES = ("publishdate", "datepublished", "published", "pubdate", "pubdatetime")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
_AMBIGUOUS = re.compile(r"\s*(\d{1,2})[/.\-](\d{1,2})[/.\-]\d{2,4}\b")
_MAX_NAMES_DEPTH, _MAX_NAMES_CHARS = 10, 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Title, author, ISO date, address, licence and language, as far as known. `status` is the author's own mark."""

    title: str | None = None
    author: str | None = None
    date: str | None = None
    url: str | None = None
    license: str | None = None
    status: Status = "published"
    date_origin: DateOrigin | None = None
    language: str | None = None

    def facts(self) -> Facts:
        """The same, as a document takes them."""
        return Facts(
            title=self.title,
            author=self.author,
            date=self.date,
            date_origin=self.date_origin,
            url=self.url,
            license=self.license,
            status=self.status,
            language=self.language,
        )


def stated_metadata(values: Mapping[str, Any], name: str) -> Metadata:
    """What the keys of a text's metadata say, in whatever style they are written; `name` gives the date where they do not.

    A text is as old as the day on which it became public: of a date and a later day of publication the latter counts.
    """
    known = {plain_key(key): value for key, value in values.items() if isinstance(key, str)}

    def first(*keys: str) -> str | None:
        return next((line for key in keys if (line := _line(known.get(key)))), None)

    stated = next((day for key in _DATES if (day := iso_date(known.get(key)))), None)
    public = next((day for key in _PUBLIC_DATES if (day := iso_date(known.get(key)))), None)
    day = max(filter(None, (stated, public)), default=None)
    status, ended = status_of(values), next((end for key in _ENDS if (end := iso_date(known.get(key)))), None)
    language = first("lang", "language", "locale")
    return Metadata(
        title=first("title"),
        author=author_name(known.get("authors") or known.get("author") or known.get("byline")),
        date=day or _date_in_name(name),
        date_origin="metadata" if day else "name",
        url=first("canonicalurl", "canonicallink", "canonical", "permalink", "url", "slug"),
        license=first("license", "licence"),
        status="private" if ended and ended <= date.today().isoformat() and status == "published" else status,
        language=language.replace("_", "-") if language and _LANGUAGE.fullmatch(language) else None,
    )


def author_name(value: object) -> str | None:
    """One line of names from a string, a list, or `{name: …}` in any of the shapes that site generators accept.

    Lists in lists are followed ten levels deep, and names are taken until they fill 100,000 characters.
    """
    names: list[str] = []
    size = 0
    for name in _names(value, 0):
        names.append(name)
        size += len(name)
        if size >= _MAX_NAMES_CHARS:
            break
    return ", ".join(names) or None


def _names(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("title") or value.get("key")
    if isinstance(value, list | tuple):
        for entry in value if depth < _MAX_NAMES_DEPTH else ():
            yield from _names(entry, depth + 1)
    elif name := _line(value):
        yield name


def iso_date(value: object) -> str | None:
    """`YYYY-MM-DD`, or None if the value names no single day: no year, or 03/04/2023, which is two dates."""
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    text = _line(value)
    if not text or len(text) > 64 or not re.search(r"\d{4}", text):
        return None
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        return _loose_date(text)


def _loose_date(text: str) -> str | None:
    numbers = _AMBIGUOUS.match(text)
    if numbers and int(numbers[1]) <= 12 and int(numbers[2]) <= 12 and numbers[1] != numbers[2]:
        return None
    try:  # two defaults: a part that is missing from the text takes both, and shows
        first, second = (
            dateutil_parser.parse(text, default=default, ignoretz=True)
            for default in (datetime(2000, 1, 1), datetime(2001, 2, 2))
        )
    except (ValueError, OverflowError, TypeError):
        return None
    return first.date().isoformat() if first.date() == second.date() else None


def _date_in_name(name: str) -> str | None:
    for part in reversed(PurePosixPath(name).parts):
        if match := _NAME_DATE.search(part):
            return iso_date("-".join(match.group(1, 3, 4)))
    if match := _FOLDER_DATE.search(name):
        return iso_date("{}-{:0>2}-{:0>2}".format(*match.groups()))
    return None


def title_from_name(name: str) -> str | None:
    """Words from a file name such as `2023-04-11-a-year-alone.md`; an `index.md` takes its folder's name."""
    path = PurePosixPath(name.split("?")[0])
    stem = path.stem if path.stem.lower() not in {"index", "_index", "readme"} else path.parent.name
    text = re.sub(r"[-_\s]+", " ", _NAME_DATE.sub("", stem)).strip()
    text = re.sub(r"^\d{1,4} (?=\D)", "", text)
    return text[:1].upper() + text[1:] if re.search(r"[^\W\d_]{2}", text) else None


def _line(value: object) -> str | None:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        return " ".join(str(value).split()) or None
    except ValueError:  # a number of more digits than Python writes
        return None
