"""The rows of a JSON file, before anybody asks what they are: an array, an object that wraps one, or JSON lines."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import orjson

from tunesmith.data.text.decode import UnreadableError

__all__ = ["RawRow", "json_lines", "json_rows"]

RawRow = tuple[str, Any, str]  # place, row, problem
_MAX_LINE_BYTES = 20 * 1024 * 1024
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
        yield from json_lines(io.BytesIO(data))
        return
    if isinstance(whole, Mapping):
        wrapped = next((whole[key] for key in _CONTAINERS if isinstance(whole.get(key), list)), None)
        whole = [whole] if wrapped is None else wrapped
    if not isinstance(whole, list):
        whole = [whole]
    for number, row in enumerate(whole, 1):
        yield f"row {number}", row, ""


def json_lines(file: BinaryIO, *, taken: Callable[[bytes], object] = bool) -> Iterator[RawRow]:
    """(place, row, problem) of each line that is not blank, read one by one; `taken` is given every byte of the file."""
    number = 0
    while line := file.readline(_MAX_LINE_BYTES):
        number += 1
        taken(line)
        if len(line) >= _MAX_LINE_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(_MAX_LINE_BYTES)
                taken(line)
            yield f"line {number}", None, "it is longer than 20 MB"
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        try:
            yield f"line {number}", orjson.loads(line), ""
        except orjson.JSONDecodeError as error:
            yield f"line {number}", None, f"not valid JSON ({str(error).split(':')[0]})"
