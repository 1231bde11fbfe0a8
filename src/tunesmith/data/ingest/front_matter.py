"""What stands above a text about it: front matter in YAML, TOML or JSON, head lines `Title: …`, page properties `title:: …`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import yaml

from tunesmith.data.ingest.metadata import Metadata, iso_date, stated_metadata
from tunesmith.data.ingest.publication import STATUS_KEYS, plain_key, status_of
from tunesmith.data.text.decode import UnreadableError

__all__ = ["has_front_matter", "read_front_matter"]

_FENCED = re.compile(
    r"\A---[ \t]*(ya?ml|toml|json)?[ \t]*\n(.*?)(?:^|\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.IGNORECASE
)
_TOML = re.compile(r"\A\+\+\+[ \t]*\n(.*?)(?:^|\n)\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL)
_JSON = re.compile(r"\A\{\s*(?:\"|\})")
_FIRST_HEADING = re.compile(r"\s{0,20}# [^\n]{1,500}\n[ \t]*\n")
_HEAD_LINE = re.compile(r"([A-Za-z][\w -]{0,40}?)[ \t]*:(?:[ \t]+(\S.*)|[ \t]*)$")
_PROPERTY = re.compile(r"(?:[-*] )?([A-Za-z][\w./-]{0,60})::(?:[ \t]+(.*)|$)")
# Keys of Pelican, MultiMarkdown, Nikola and Jekyll's ancestors; others may be among them.
_HEAD_KEYS_TEXT = """
title subtitle date modified updated created pubdate publishdate author authors tags tag category
categories keywords slug lang language locale summary description template layout series translation saveas url link
copyright license licence css htmlheader baseheaderlevel affiliation email cover image thumbnail comments
createdtime createdby lastedited lasteditedtime lasteditedby due type id gallery
"""
_HEAD_KEYS = STATUS_KEYS | set(_HEAD_KEYS_TEXT.split())
_MAX_FRONT_MATTER = 200_000
_MAX_HEAD_LINES = 60
_MAX_DEPTH, _MAX_ALIASES = 50, 20


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


def has_front_matter(text: str) -> bool:
    """Whether a text, such as an HTML post of Jekyll, begins with fenced front matter (`---`, `+++`)."""
    head = text[:_MAX_FRONT_MATTER]
    return bool(_FENCED.match(head) or _TOML.match(head))


def read_front_matter(text: str, name: str) -> tuple[Metadata, str]:
    """Metadata and the body below it. `name` gives the date and title where the front matter has none.

    `text` has lines that end in `\\n`. UnreadableError for front matter that is fenced and cannot be parsed.
    """
    values, end = _fenced(text[:_MAX_FRONT_MATTER])
    heading = _FIRST_HEADING.match(text, end)  # Notion writes a page's properties below its title
    start = heading.end() if heading else end
    properties, length = _head_lines(text[start:])
    return stated_metadata({**properties, **values}, name), text[end:start] + text[start + length :]


def _fenced(head: str) -> tuple[Mapping[str, Any], int]:
    """The values, and where the body begins; no values and 0 where there is no front matter."""
    if match := _FENCED.match(head):
        return _parse(match[2], (match[1] or "YAML").upper().replace("YML", "YAML")), match.end()
    if match := _TOML.match(head):
        return _parse(match[1], "TOML"), match.end()
    if _JSON.match(head):
        try:
            values, end = json.JSONDecoder().raw_decode(head)
        except (ValueError, RecursionError):
            return {}, 0  # a text that begins with a brace
        if isinstance(values, dict) and re.match(r"[ \t]*(?:\n|\Z)", head[end:]):
            return values, end
    return {}, 0


def _parse(text: str, style: str) -> Mapping[str, Any]:
    values: Any
    try:
        if style == "YAML":
            values = _load_yaml(text.expandtabs(4))  # tabs are no YAML, yet common
        else:
            values = tomllib.loads(text) if style == "TOML" else json.loads(text)
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


def _head_lines(body: str) -> tuple[dict[str, str], int]:
    """The values of the lines at the head of a body, up to a blank line, and how many characters they take.

    They are metadata only if every one of them is `Key: value` or goes on one, and their keys are those of writing tools:
    a dialogue, a recipe or a paragraph that begins with `Note:` is prose.
    """
    values: dict[str, str] = {}
    key, position, marked = "", 0, False
    for number, line in enumerate(body[:_MAX_FRONT_MATTER].split("\n")[: _MAX_HEAD_LINES + 1]):
        if not line.strip():
            if values:
                break
            position += len(line) + 1
            continue
        if number == _MAX_HEAD_LINES:
            return {}, 0
        if found := _PROPERTY.match(line.strip()):
            marked = True
        elif line[:1].isspace() and key:
            values[key] = f"{values[key]} {line.strip()}".strip()
            position += len(line) + 1
            continue
        elif marked or not (found := _HEAD_LINE.match(line)):
            if marked and values:  # properties of a page need no blank line below them
                break
            return {}, 0
        key = found[1].strip()
        values[key] = (found[2] or "").strip()
        position += len(line) + 1
    return (values, min(position, len(body))) if values and (marked or _are_metadata(values)) else ({}, 0)


def _are_metadata(values: Mapping[str, str]) -> bool:
    known = [key for key in values if plain_key(key) in _HEAD_KEYS]
    if len(values) > 1:
        return 2 * len(known) > len(values)
    key, value = next(iter(values.items()))
    return (
        plain_key(key) == "title"
        or iso_date(value if plain_key(key) == "date" else None) is not None
        or (status_of({key: value}) != "published")
    )
