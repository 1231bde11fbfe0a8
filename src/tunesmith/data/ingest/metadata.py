"""What a post says about itself: YAML or TOML front matter of Jekyll, Hugo and Docusaurus, and dates of all styles."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any

import yaml
from dateutil import parser as dateutil_parser

from tunesmith.core.records import DateOrigin, Status
from tunesmith.data.text.decode import UnreadableError

__all__ = ["Metadata", "author_name", "iso_date", "read_front_matter", "title_from_name"]

_YAML = re.compile(r"\A---[ \t]*\n(.*?)(?:^|\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TOML = re.compile(r"\A\+\+\+[ \t]*\n(.*?)(?:^|\n)\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL)
_NAME_DATE = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)")
_AMBIGUOUS = re.compile(r"\s*(\d{1,2})[/.\-](\d{1,2})[/.\-]\d{2,4}\b")
_MAX_FRONT_MATTER = 200_000
_MAX_DEPTH, _MAX_ALIASES = 50, 20
_MAX_NAMES_DEPTH, _MAX_NAMES_CHARS = 10, 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Title, author, ISO date, address and licence, as far as known. `status` is the author's own mark."""

    title: str | None = None
    author: str | None = None
    date: str | None = None
    url: str | None = None
    license: str | None = None
    status: Status = "published"
    date_origin: DateOrigin | None = None


class _PlainLoader(yaml.SafeLoader):
    """YAML without timestamps: dates stay text, and one function reads them all."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# The same in C where PyYAML has it: the pure one takes a tenth of the time of a whole ingest.
_PlainLoaderFast: type[yaml.SafeLoader] = _PlainLoader
if yaml.__with_libyaml__:
    _PlainLoaderFast = type(
        "_PlainLoaderFast", (yaml.CSafeLoader,), {"yaml_implicit_resolvers": _PlainLoader.yaml_implicit_resolvers}
    )


def read_front_matter(text: str, name: str) -> tuple[Metadata, str]:
    """Metadata and the body below it. `name` gives the date and title where the front matter has none."""
    values: Mapping[str, Any] = {}
    match: re.Match[str] | None
    head = text[:_MAX_FRONT_MATTER]
    if match := _YAML.match(head):
        values = _parse(match.group(1), "YAML")
    elif match := _TOML.match(head):
        values = _parse(match.group(1), "TOML")
    body = text[match.end() :] if match else text
    known = {key.lower(): value for key, value in values.items() if isinstance(key, str)}
    stated = next(
        (d for key in ("date", "publishdate", "published", "pubdate", "created", "lastmod") if (d := iso_date(known.get(key)))),
        None,
    )
    found = Metadata(
        title=_line(known.get("title")),
        author=author_name(known.get("authors") or known.get("author")),
        date=stated or _date_in_name(name),
        date_origin="metadata" if stated else "name",
        url=next(
            (u for key in ("canonical_url", "canonicalurl", "permalink", "url", "slug") if (u := _line(known.get(key)))), None
        ),
        license=_line(known.get("license") or known.get("licence")),
        status="draft" if _truth(known.get("draft")) or known.get("published") is False else "published",
    )
    return found, body


def _parse(text: str, style: str) -> Mapping[str, Any]:
    try:
        values = _load_yaml(text.expandtabs(4)) if style == "YAML" else tomllib.loads(text)  # tabs are no YAML, yet common
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 2}" if mark else ""
        raise UnreadableError(
            f"its front matter is not valid YAML{place}: {getattr(error, 'problem', None) or 'cannot be parsed'}"
        ) from error
    except UnreadableError:
        raise
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"its front matter is not valid {style}: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise UnreadableError("its front matter is not a list of `key: value` lines")
    return values


def _load_yaml(text: str) -> Any:
    """The values, after a look at the events: deep nesting overflows the stack in C, and aliases repeat whole trees."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=_PlainLoaderFast):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > _MAX_DEPTH:
            raise UnreadableError(f"its front matter is nested deeper than {_MAX_DEPTH} levels")
        if aliases > _MAX_ALIASES:
            raise UnreadableError(f"its front matter has more than {_MAX_ALIASES} aliases")
    return yaml.load(text, Loader=_PlainLoaderFast)


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
            return iso_date(match.group(0))
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


def _truth(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() in {"true", "yes", "1"})
