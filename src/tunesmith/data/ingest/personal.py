"""What the exports of one person's account share: whose they are, JSON in its wrappings, and bytes written as characters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

import orjson

from tunesmith.data.ingest.policy import Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

__all__ = ["as_fragment", "json_in", "json_or_none", "mended", "objects", "owner", "text_of", "utc_day"]

_ASSIGNED = re.compile(rb"\s*(?:(?:var|let|const)\s+)?[\w.$\[\]'\"]+\s*=\s*(?=[\[{\"])")


def owner(policy: Policy, *names: str | None) -> str | None:
    """What to call the owner of an account whose export this is. None where the user asks for other names: a handle need not
    be like the name, and what people write in their own account is their own."""
    return policy.named(*names) if policy.is_own(*names) else None


def json_in(data: bytes) -> Any:
    """The value of a JSON file, also of one that assigns it to a name (`window.YTD.tweets.part0 = […]`).

    UnreadableError if it is broken or cut.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    assigned = _ASSIGNED.match(data[:500])
    try:
        return orjson.loads(data[assigned.end() :].rstrip().removesuffix(b";") if assigned else data)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"its JSON is broken or cut ({error})") from error


def json_or_none(tree: Tree, name: str) -> Any:
    """The value of a file that only helps to recognise or name something; None if it is missing or broken."""
    try:
        return json_in(tree.read(name)) if name in tree else None
    except UnreadableError:
        return None


def objects(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; none of anything else."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def text_of(value: object) -> str:
    """A string, or nothing."""
    return value if isinstance(value, str) else ""


def as_fragment(text: str) -> str:
    """Text as people type it into a form, as HTML: a blank line ends a paragraph, and every other end of a line was meant."""
    parts = re.split(r"\n[^\S\n]*\n", text.replace("\r\n", "\n").strip())
    return "\n".join(f"<p>{escape(part, quote=False).replace(chr(10), '<br>')}</p>" for part in parts)


def mended(text: str) -> str:
    """Text of which every byte of UTF-8 was written as a character of its own, as Facebook and Instagram do."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def utc_day(seconds: object) -> str | None:
    """The date of seconds since 1970; None if that is no date of a text."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 4e9:
        return None
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
