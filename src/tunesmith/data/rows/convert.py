"""Rows that were read from a file, and the same rows in another format."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tunesmith.core.records import to_json
from tunesmith.data.rows.detect import Detected
from tunesmith.data.rows.entry import Entry, FormatError
from tunesmith.data.rows.write import Written, needs_turns, write_entry

__all__ = ["Converted", "Place", "ReadFile", "convert"]


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
