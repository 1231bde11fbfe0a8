"""Rows of JSON lines as texts to compare, read in pieces of a file so that a corpus need not fit into memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core import records
from tunesmith.core.errors import SourceError

__all__ = ["Piece", "Row", "RowId", "id_rank", "pieces_of", "read_at", "read_piece", "row_of", "text_of"]

RowId = str | int
_PIECE_BYTES = 1 << 20
_KNOWN = ("title", "url", "author", "date", "license")


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `start` to `end` of a file: whole lines. Plain data, so that any engine can carry it."""

    path: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `id` None if it has none; `known`, how many of title, url, author, date and licence it names."""

    id: RowId | None
    text: str
    source: str
    known: int
    date: str


def pieces_of(path: Path) -> list[Piece]:
    """A file of JSON lines in pieces of about a megabyte. SourceError if it cannot be read or is one JSON value."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(1024)
            starts = [0]
            while starts[-1] < size:
                file.seek(min(starts[-1] + _PIECE_BYTES, size))
                file.readline()
                starts.append(min(file.tell(), size))
    except OSError as error:
        raise SourceError(
            f"cannot read this file ({error.strerror or error})",
            value=str(path),
            expected="a file of JSON lines",
            hint="tunesmith dedup rows.jsonl",
        ) from error
    if head.lstrip()[:1] == b"[":
        raise SourceError(
            "this file is one JSON array",
            value=str(path),
            expected="JSON lines: one object a line",
            hint=f"tunesmith convert {path} --to messages --out {path.with_suffix('.jsonl').name}",
        )
    return [Piece(str(path), start, end) for start, end in itertools.pairwise(starts)]


def read_piece(piece: Piece) -> Iterator[tuple[int, int, Row | str]]:
    """(offset, length in bytes, row or what is wrong with it) of each line, blank lines among them as an empty string."""
    with Path(piece.path).open("rb") as file:
        file.seek(piece.start)
        data = file.read(piece.end - piece.start)
    offset = piece.start
    for line in data.split(b"\n"):
        if offset < piece.end:
            yield offset, len(line), _row(line)
        offset += len(line) + 1


def read_at(path: str, places: Sequence[tuple[int, int]]) -> list[str]:
    """The texts of rows that were read before, by offset and length."""
    texts = []
    with Path(path).open("rb") as file:
        for offset, length in places:
            file.seek(offset)
            found = _row(file.read(length))
            if isinstance(found, str):
                raise SourceError(
                    "the file changed while it was being read",
                    value=path,
                    expected="a file that stays as it is",
                    hint="type the same command again",
                )
            texts.append(found.text)
    return texts


def row_of(row: object) -> Row:
    """A parsed row. ValueError, in words for the user, if there is no text in it or its id is neither text nor a number."""
    if not isinstance(row, Mapping):
        raise ValueError("a row must be an object with id and text")
    id = row.get("id")
    if id is not None and (isinstance(id, bool) or not isinstance(id, str | int)):
        raise ValueError("its id must be text or a whole number")
    text = row.get("text")
    if not isinstance(text, str):
        if text is not None:
            raise ValueError("its text is not a string")
        text = _said(row)
    if not text.strip():
        raise ValueError("its text is empty")
    known = sum(1 for key in _KNOWN if row.get(key))
    return Row(id, text, str(row.get("source") or ""), known, str(row.get("date") or ""))


def id_rank(id: RowId) -> tuple[bool, int, str]:
    """What ids are sorted by: numbers by value, then texts."""
    return (isinstance(id, str), id if isinstance(id, int) else 0, str(id))


def text_of(row: records.Row) -> str:
    """The text of a row that is compared: every turn and every answer, without the system prompt."""
    asked = [message.content for message in row.prompt if message.role != "system"]
    return "\n".join([*asked, *row.answers])


def _row(line: bytes) -> Row | str:
    if not line.strip():
        return ""
    try:
        return row_of(orjson.loads(line))
    except orjson.JSONDecodeError as error:
        return f"not valid JSON ({str(error).split(':')[0]})"
    except ValueError as error:
        return str(error)


def _said(row: Mapping[str, Any]) -> str:
    """The text of a row that is an example or a document in another form."""
    from tunesmith.data.ingest.rows import record_of  # knows every format, and takes a third of a second to load

    record, _ = record_of(row, name="rows")
    return record.text if isinstance(record, records.Document) else text_of(record)
