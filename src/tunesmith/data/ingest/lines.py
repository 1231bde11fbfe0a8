"""Large files of JSON lines, read piece by piece: memory does not grow with the file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import orjson

from tunesmith.core.errors import SourceError
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.rows import read_in_pieces
from tunesmith.data.rows.raw import json_lines
from tunesmith.data.text.decode import PassingError

__all__ = ["is_lines", "read_lines"]


def is_lines(head: bytes) -> bool:
    """Whether a file that begins so is one of JSON lines: its first line is a whole object, and another follows."""
    line, end, rest = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    if not end or line[:1] != b"{" or rest.lstrip()[:1] != b"{":
        return False
    try:
        return isinstance(orjson.loads(line), Mapping)
    except orjson.JSONDecodeError:
        return False


def read_lines(path: Path, *, name: str, sha256: str) -> Iterator[Reading]:
    """What `read_rows` finds in the file, in pieces of 2,000 records; the last piece carries failures and notes.

    UnreadableError if no row could be used; SourceError if the file is no longer the one with this SHA-256.
    """
    state = hashlib.sha256()
    with _opened(path) as file:
        yield from read_in_pieces(json_lines(file, taken=state.update), name=name)
    if state.hexdigest() != sha256:
        raise SourceError(
            "a file changed while it was being read",
            value=str(path),
            expected="a file that does not change while it is read",
            hint="type the same command again when it is complete",
        )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise PassingError(f"it cannot be opened ({error.strerror or error})") from error
