"""`convert`: detect the format of examples, row by row, and convert them to another."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.api.row_files import write_rows
from tunesmith.core.errors import DatasetError
from tunesmith.core.files import check_out
from tunesmith.data.ingest.row_file import read_file
from tunesmith.data.rows import FORMATS, TARGETS
from tunesmith.data.rows.convert import Converted
from tunesmith.data.rows.convert import convert as converted

__all__ = ["ConvertResult", "FormatKind", "FormatResult", "convert", "detect_formats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatKind:
    """One format found in a file: the evidence for it, its certainty (0 to 1), and the places of its rows."""

    format: str
    saw: str
    sure: float
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatResult:
    """The formats of a file, the most common first; (place, reason) of rows that fit no format.

    `by_row`: (place, format, certainty) of every row that was read, in order.
    """

    kinds: tuple[FormatKind, ...]
    unreadable: tuple[tuple[str, str], ...]
    by_row: tuple[tuple[str, str, float], ...]

    @property
    def mixed(self) -> bool:
        """Whether the rows are in several formats."""
        return len({kind.format for kind in self.kinds}) > 1

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith convert FILE --json` prints; `by_row` only for a mixed file."""
        rows: dict[str, Any] = {
            "rows": len(self.by_row) + len(self.unreadable),
            "formats": [
                {"format": k.format, "saw": k.saw, "sure": k.sure, "rows": len(k.places), "first": k.places[:3]}
                for k in self.kinds
            ],
            "unreadable": [{"row": where, "reason": reason} for where, reason in self.unreadable],
        }
        if self.mixed:
            rows["by_row"] = [{"row": where, "format": name, "sure": sure} for where, name, sure in self.by_row]
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertResult:
    """Rows in the format `to`, and the reasons why others were refused.

    `formats`: rows of each format that was read. `num_rows`: rows of the file, also those that could not be read. `refused`:
    (place, reason) of rows that were left out. `lost`: dropped fields, counted. `turns`: whether prompts are lists of turns.
    `out`: the file written, if any.
    """

    formats: Mapping[str, int]
    to: str
    num_rows: int
    rows: tuple[Any, ...]
    turns: bool
    refused: tuple[tuple[str, str], ...]
    lost: Mapping[str, int]
    out: Path | None

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith convert FILE --to FORMAT --out FILE --json` prints: figures, without the rows."""
        return {
            "from": dict(self.formats),
            "to": self.to,
            "rows": self.num_rows,
            "written": len(self.rows),
            "prompts": "turns" if self.turns else "text",
            "refused": [{"row": where, "reason": reason} for where, reason in self.refused],
            "lost": dict(self.lost),
            "out": str(self.out) if self.out else None,
        }


def detect_formats(file: str | Path, *, from_: str = "") -> FormatResult:
    """Detect the formats of the rows of a JSON, JSON Lines, CSV or TSV file. `from_`: read all rows as this format.

    Raises:
        DatasetError: an unknown format.
        SourceError: the file cannot be read.
    """
    _known(from_, FORMATS)
    read = read_file(Path(file), format=from_)
    places: dict[tuple[str, str], list[str]] = {}
    sure: dict[tuple[str, str], float] = {}
    for row in read.rows:
        key = (row.found.format, row.found.saw)
        places.setdefault(key, []).append(row.where)
        sure[key] = row.found.sure
    ranked = sorted(places.items(), key=lambda item: -len(item[1]))
    return FormatResult(
        kinds=tuple(FormatKind(format=f, saw=saw, sure=sure[f, saw], places=tuple(at)) for (f, saw), at in ranked),
        unreadable=read.refused,
        by_row=tuple((row.where, row.found.format, row.found.sure) for row in read.rows),
    )


def convert(file: str | Path, *, to: str, from_: str = "", out: str | Path | None = None, lossy: bool = False) -> ConvertResult:
    """The rows of a file in the format `to` (`messages`, `sharegpt`, `alpaca` …), written to `out` if given.

    `from_`: read all rows in this format, without detection. `lossy`: drop what the format cannot hold; otherwise such
    rows are refused. JSON Lines are written, or an array if `out` ends in `.json`.

    Raises:
        DatasetError: an unknown format, or no row that can be written.
        SourceError: the file cannot be read, or `out` is that file or a folder.
        StorageError: `out` cannot be written.
    """
    path, target = Path(file), Path(out) if out is not None else None
    _known(to, TARGETS)
    _known(from_, FORMATS)
    read = read_file(path, format=from_)
    if target is not None:
        check_out(target, [path], hint=f"{shlex.join(['tunesmith', 'convert', str(path), '--to', to])} --out converted.jsonl")
    made = converted(read, to, lossy=lossy)
    if not made.rows:
        raise _nothing_written(made, path, to=to, out=target)
    if target is not None:
        write_rows(made.rows, target, what="converted")
    return ConvertResult(
        formats=read.formats,
        to=to,
        num_rows=len(read.rows) + len(read.refused),
        rows=made.rows,
        turns=made.turns,
        refused=made.refused,
        lost=made.lost,
        out=target,
    )


def _nothing_written(made: Converted, file: Path, *, to: str, out: Path | None) -> DatasetError:
    where, reason = made.refused[0]
    again = ["tunesmith", "convert", str(file), "--to", to, "--lossy", *(["--out", str(out)] if out else [])]
    return DatasetError(
        f"no row of this file can be written as {to}",
        value=f"{where}: {reason}",
        expected="rows that the format can hold",
        hint=shlex.join(again)
        if "--lossy" in reason
        else f"{shlex.join(['tunesmith', 'convert', str(file)])} says what the rows are",
    )


def _known(name: str, names: Sequence[str]) -> None:
    if name and name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        raise DatasetError(
            "unknown format",
            value=name,
            expected=", ".join(names),
            hint=f"--to {near[0]}" if near else "tunesmith convert FILE says what format a file is in",
        )
