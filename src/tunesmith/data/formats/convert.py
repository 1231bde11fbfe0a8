"""Files of examples: what format each row is in, and the same rows in another format."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import SourceError
from tunesmith.core.records import to_json
from tunesmith.data.formats.detect import Detected
from tunesmith.data.formats.entry import Entry, FormatError
from tunesmith.data.formats.raw import RawRow, json_rows
from tunesmith.data.formats.read import read_entry
from tunesmith.data.formats.write import Written, needs_turns, write_entry
from tunesmith.data.ingest.decode import decode
from tunesmith.data.ingest.item import UnreadableError
from tunesmith.data.ingest.kinds import guess_kind, unpacked
from tunesmith.data.ingest.readers.table import table_rows

__all__ = ["Converted", "Place", "ReadFile", "convert", "holds_rows", "raw_rows", "read_file"]

_MAX_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A row of a file: where it stands (`line 7`), what it says, and how its format was told."""

    where: str
    entry: Entry
    found: Detected


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """The rows of a file that could be read, and (place, reason) of the others."""

    rows: tuple[Place, ...]
    refused: tuple[tuple[str, str], ...]

    @property
    def formats(self) -> dict[str, int]:
        """How many rows are in each format, the commonest first."""
        return dict(Counter(row.found.format for row in self.rows).most_common())


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """Rows in the new format; (place, reason) of rows it does not hold; fields let go, counted; whether prompts are lists."""

    rows: tuple[Any, ...]
    refused: tuple[tuple[str, str], ...]
    lost: dict[str, int]
    turns: bool


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


def convert(file: ReadFile, to: str, *, lossy: bool = False) -> Converted:
    """The rows in the format `to`. A row that would lose something is refused, unless `lossy`; then what goes is counted.

    Prompts are written as lists of turns in all rows if one of them needs it.
    """
    turns = any(needs_turns(row.entry, to) for row in file.rows)
    rows: list[Any] = []
    refused = list(file.refused)
    lost: Counter[str] = Counter()
    for row in file.rows:
        try:
            written = _checked(write_entry(row.entry, to, turns=turns))
        except FormatError as error:
            refused.append((row.where, str(error)))
            continue
        if written.lost and not lossy:
            refused.append((row.where, f"it would lose {', '.join(written.lost[:5])} (--lossy lets it go)"))
            continue
        lost.update(written.lost)
        rows += written.rows
    return Converted(rows=tuple(rows), refused=tuple(refused), lost=dict(lost.most_common()), turns=turns)


def _checked(written: Written) -> Written:
    """The same, if it can be written as JSON: fields nested beyond what a JSON writer takes cannot."""
    try:
        to_json(list(written.rows))
    except TypeError as error:
        raise FormatError(f"it cannot be written as JSON ({error})") from error
    return written
