"""The rows of a JSON file, before anybody asks what they are: an array, an object that wraps one, or JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from tunesmith.data.text.decode import UnreadableError

__all__ = ["RawRow", "json_rows"]

RawRow = tuple[str, Any, str]  # place, row, problem
_CONTAINERS = ("data", "rows", "examples", "train")


def json_rows(data: bytes) -> Iterator[RawRow]:
    """(place, row, problem) of each row; a row that is no JSON is None and has a problem, in words.

    Lines end at `\\n` alone. NaN, half surrogates and nesting beyond 1,024 levels are no JSON. UnreadableError for an
    array that does not parse.
    """
    try:
        whole = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if data.lstrip()[:1] == b"[" and data.count(b"\n[") == 0:
            raise UnreadableError(f"not valid JSON: {error}") from error
        yield from _lines(data)
        return
    if isinstance(whole, Mapping):
        wrapped = next((whole[key] for key in _CONTAINERS if isinstance(whole.get(key), list)), None)
        whole = [whole] if wrapped is None else wrapped
    if not isinstance(whole, list):
        whole = [whole]
    for number, row in enumerate(whole, 1):
        yield f"row {number}", row, ""


def _lines(data: bytes) -> Iterator[RawRow]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", orjson.loads(line), ""
        except orjson.JSONDecodeError as error:
            yield f"line {number}", None, f"not valid JSON ({str(error).split(':')[0]})"
