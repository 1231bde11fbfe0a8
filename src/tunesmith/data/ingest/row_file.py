"""A file of rows, read as such: every row with its place and its format; those that cannot be read are named."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from tunesmith.core.errors import SourceError
from tunesmith.data.ingest.kinds import guess_kind, unpacked
from tunesmith.data.rows.convert import Place, ReadFile
from tunesmith.data.rows.entry import FormatError
from tunesmith.data.rows.raw import RawRow, json_rows
from tunesmith.data.rows.read import read_entry
from tunesmith.data.rows.table import table_rows
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["holds_rows", "raw_rows", "read_file"]

_MAX_BYTES = 256 * 1024 * 1024


def read_file(path: Path, *, format: str = "") -> ReadFile:
    """Every row of a JSON, JSON lines, CSV or TSV file (also gzip), told by content. `format`: read all rows as that.

    SourceError for a file that cannot be opened or holds no rows at all; rows that cannot be read are named, each.
    """
    try:
        return _read(raw_rows(path), format)
    except UnreadableError as error:
        raise _unusable(path, str(error)) from error


def holds_rows(path: Path) -> bool:
    """Whether `read_file` is the reader for a file: JSON, JSON lines or a table. SourceError if it cannot be opened."""
    try:
        return guess_kind(path.name, _content(path), alone=True) in ("rows", "table")
    except UnreadableError as error:
        raise _unusable(path, str(error)) from error


def raw_rows(path: Path) -> list[RawRow]:
    """(place, row, problem) of each row of a file, before anybody asks what it is. SourceError for a file without rows."""
    try:
        data = _content(path)
        kind = guess_kind(path.name, data, alone=True)
        if kind == "table":
            return list(table_rows(data, name=path.name))
        if kind == "rows":
            return list(json_rows(decode(data).encode()))
    except UnreadableError as error:
        raise _unusable(path, str(error)) from error
    raise _unusable(path, f"it holds no rows but {kind}")


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _unusable(path, "it is larger than 256 MB")
        return unpacked(path.read_bytes())
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise _unusable(path, f"it cannot be opened ({error.strerror or error})") from error


def _missing(path: Path) -> SourceError:
    """The error for a file that is not there, with the name in its folder that is most like it."""
    names = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    said = f"; there is {str(path.with_name(near[0]))!r}" if near else ""
    hint = f"type it as {path.with_name(near[0])}" if near else "ls shows what is here"
    return SourceError("file not found", value=str(path), expected=f"a file of examples{said}", hint=hint)


def _unusable(path: Path, reason: str) -> SourceError:
    return SourceError(
        f"cannot read rows from this file: {reason}",
        value=str(path),
        expected="JSON, JSON lines, CSV or TSV with one example a row",
        hint="tunesmith convert FILE says what a file holds; tunesmith ingest reads other kinds of files",
    )


def _read(raw: Sequence[RawRow], format: str) -> ReadFile:
    rows: list[Place] = []
    refused: list[tuple[str, str]] = []
    for where, row, problem in raw:
        if problem:
            refused.append((where, problem))
            continue
        try:
            entry, found = read_entry(row, format)
        except FormatError as error:
            refused.append((where, str(error)))
        else:
            rows.append(Place(where=where, entry=entry, found=found))
    if not rows and not refused:
        raise UnreadableError("it is empty")
    return ReadFile(rows=tuple(rows), refused=tuple(refused))
