"""Large files of JSON lines, read piece by piece: memory does not grow with the file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from tunesmith.core.errors import SourceError
from tunesmith.core.records import Document, Example, Failure, Preference
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.rows import read_objects
from tunesmith.data.text.decode import PassingError, UnreadableError

__all__ = ["is_lines", "read_lines", "read_pieces"]

_PIECE = 2_000  # records
_MAX_LINE_BYTES = 20 * 1024 * 1024
_MAX_LISTED = 20
_NOTHING = "no row could be used; "


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
        yield from read_pieces(_rows(file, state), name=name)
    if state.hexdigest() != sha256:
        raise SourceError(
            "a file changed while it was being read",
            value=str(path),
            expected="a file that does not change while it is read",
            hint="type the same command again when it is complete",
        )


def read_pieces(rows: Iterable[tuple[str, Any, str]], *, name: str) -> Iterator[Reading]:
    """What `read_objects` makes of these rows, in pieces of 2,000 records; the last piece carries failures and notes."""
    pairs: list[Example] = []
    preferences: list[Preference] = []
    documents: list[Document] = []
    problems: list[str] = []
    notes: Counter[str] = Counter()
    num_bad = num_good = 0
    for row in rows:
        try:
            reading = read_objects([row], name=name)
        except UnreadableError as error:
            num_bad += 1
            if num_bad <= _MAX_LISTED:
                problems.append(str(error).removeprefix(_NOTHING))
            continue
        num_good += 1
        pairs += reading.pairs
        preferences += reading.preferences
        documents += reading.documents
        notes.update(reading.notes)
        if len(pairs) + len(preferences) + len(documents) >= _PIECE:
            yield Reading(documents=tuple(documents), pairs=tuple(pairs), preferences=tuple(preferences))
            documents, pairs, preferences = [], [], []
    if not num_good:
        raise UnreadableError(f"{_NOTHING}{problems[0]}" if problems else "it is empty")
    failures = [Failure(source=name, reason=problem) for problem in problems]
    if num_bad > _MAX_LISTED:
        failures.append(Failure(source=name, reason=f"and {num_bad - _MAX_LISTED} more rows that could not be used"))
    yield Reading(
        documents=tuple(documents),
        pairs=tuple(pairs),
        preferences=tuple(preferences),
        failures=tuple(failures),
        notes=dict(notes),
    )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise PassingError(f"it cannot be opened ({error.strerror or error})") from error


def _rows(file: BinaryIO, state: Any) -> Iterator[tuple[str, Any, str]]:
    """(place, row, problem) of each line that is not blank; `state` takes every byte."""
    number = 0
    while line := file.readline(_MAX_LINE_BYTES):
        number += 1
        state.update(line)
        if len(line) >= _MAX_LINE_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(_MAX_LINE_BYTES)
                state.update(line)
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
