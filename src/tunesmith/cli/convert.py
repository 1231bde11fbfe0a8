"""`convert`: what format a file of examples is in, row by row, and the same rows in another."""

from __future__ import annotations

import difflib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunesmith.cli.render import console, print_json, table
from tunesmith.core.errors import DatasetError, SourceError
from tunesmith.core.files import check_out, replace_file, storage_errors
from tunesmith.core.records import to_json
from tunesmith.data.formats import FORMATS, TARGETS
from tunesmith.data.formats.convert import Converted, ReadFile, read_file
from tunesmith.data.formats.convert import convert as converted

__all__ = ["convert"]

_NUM_SHOWN = 5


def convert(file: Path, *, to: str, from_: str, out: Path | None, lossy: bool, json: bool) -> None:
    """Without `to`, say what formats the rows are in. With it, write them in that format to `out`, or to stdout.

    Exit code 2 if rows were left out, since the format cannot hold them; they are named. With `json`, an object on stdout.

    Raises:
        SourceError: the file cannot be read.
        DatasetError: an unknown format, or no row that can be written.
    """
    _known(to, TARGETS)
    _known(from_, FORMATS)
    read = read_file(file, format=from_)
    if not to:
        _describe(read, json=json)
        return
    if json and out is None:
        raise _usage("--json needs --out: stdout can take the rows or the summary, not both", "--json", "--out FILE", file, to)
    if out is not None:
        check_out(out, [file], hint=_again(file, to))
    made = converted(read, to, lossy=lossy)
    if not made.rows:
        where, reason = made.refused[0]
        raise DatasetError(
            f"no row of this file can be written as {to}",
            value=f"{where}: {reason}",
            expected="rows that the format can hold",
            hint=shlex.join(["tunesmith", "convert", str(file), "--to", to, "--lossy", *(["--out", str(out)] if out else [])])
            if "--lossy" in reason
            else f"{shlex.join(['tunesmith', 'convert', str(file)])} says what the rows are",
        )
    _write(made.rows, out)
    summary = _summary(read, made, to=to, out=out)
    if json:
        print_json(summary)
    else:
        _tell(summary, made)
    if made.refused:
        sys.exit(2)


def _known(name: str, names: Sequence[str]) -> None:
    if name and name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        raise DatasetError(
            "unknown format",
            value=name,
            expected=", ".join(names),
            hint=f"--to {near[0]}" if near else "tunesmith convert FILE says what format a file is in",
        )


def _usage(what: str, value: str, expected: str, file: Path, to: str) -> SourceError:
    return SourceError(what, value=value, expected=expected, hint=_again(file, to))


def _again(file: Path, to: str) -> str:
    return f"{shlex.join(['tunesmith', 'convert', str(file), '--to', to])} --out converted.jsonl"


def _write(rows: Sequence[Any], out: Path | None) -> None:
    """JSON lines; an array where `out` ends in `.json`."""
    lines = [to_json(row) for row in rows]
    if out is None:
        sys.stdout.buffer.write(b"\n".join(lines) + b"\n")
        sys.stdout.flush()
        return
    data = b"[\n" + b",\n".join(lines) + b"\n]\n" if out.suffix == ".json" else b"\n".join(lines) + b"\n"
    with storage_errors("writing the converted rows", out):
        replace_file(out, data)


def _summary(read: ReadFile, made: Converted, *, to: str, out: Path | None) -> dict[str, Any]:
    return {
        "from": read.formats,
        "to": to,
        "rows": len(read.rows) + len(read.refused),
        "written": len(made.rows),
        "prompts": "turns" if made.turns else "text",
        "refused": [{"row": where, "reason": reason} for where, reason in made.refused],
        "lost": made.lost,
        "out": str(out) if out else None,
    }


def _tell(summary: dict[str, Any], made: Converted) -> None:
    said = console()
    kinds = ", ".join(f"{count:,} {name}" for name, count in summary["from"].items())
    said.print(f"  read     {kinds or 'nothing'}")
    said.print(f"  written  {summary['written']:,} {summary['to']}" + (f" to {summary['out']}" if summary["out"] else ""))
    if made.turns:
        said.print("  prompts are lists of turns, since at least one row holds more than one user turn")
    if made.lost:
        said.print("  let go   " + ", ".join(f"{name} ({count:,})" for name, count in made.lost.items()))
    for where, reason in made.refused[:_NUM_SHOWN]:
        said.print(f"  left out {where}: {reason}")
    if len(made.refused) > _NUM_SHOWN:
        said.print(f"  left out and {len(made.refused) - _NUM_SHOWN:,} more rows; --json names them all")


def _describe(read: ReadFile, *, json: bool) -> None:
    """Every format met, with what was seen and how sure that is; of a mixed file, every row."""
    kinds: dict[tuple[str, str], list[str]] = {}
    sure: dict[tuple[str, str], float] = {}
    for row in read.rows:
        key = (row.found.format, row.found.saw)
        kinds.setdefault(key, []).append(row.where)
        sure[key] = row.found.sure
    ranked = sorted(kinds.items(), key=lambda item: -len(item[1]))
    if json:
        rows: dict[str, Any] = {
            "rows": len(read.rows) + len(read.refused),
            "formats": [
                {"format": f, "saw": saw, "sure": sure[f, saw], "rows": len(at), "first": at[:3]} for (f, saw), at in ranked
            ],
            "unreadable": [{"row": where, "reason": reason} for where, reason in read.refused],
        }
        if len(read.formats) > 1:
            rows["by_row"] = [{"row": row.where, "format": row.found.format, "sure": row.found.sure} for row in read.rows]
        print_json(rows)
        return
    lines = [[f, f"{sure[f, saw]:.0%}", f"{len(at):,}", saw, ", ".join(at[:3])] for (f, saw), at in ranked]
    lines += [["none", "", "1", reason, where] for where, reason in read.refused[:_NUM_SHOWN]]
    table("", ["format", "sure", "rows", "what was seen", "first rows"], lines)
    if len(read.refused) > _NUM_SHOWN:
        console().print(f"  and {len(read.refused) - _NUM_SHOWN:,} more rows that no format fits; --json names them all")
    if len(read.formats) > 1:
        console().print("  the rows are in several formats; --to FORMAT brings them into one, --json tells each row's")
