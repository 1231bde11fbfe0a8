"""Detect the format of examples, or convert it. Example: tunesmith convert rows.jsonl --to messages --out messages.jsonl"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import Json

if TYPE_CHECKING:
    from tunesmith.api.conversion import ConvertResult, FormatResult

__all__ = ["command"]

_NUM_SHOWN = 5


def command(
    file: Annotated[Path, typer.Argument(help="A file of examples: JSON, JSON lines, CSV or TSV.")],
    to: Annotated[str, typer.Option("--to", help="messages, sharegpt, alpaca, …; without it, print the format of FILE.")] = "",
    from_: Annotated[str, typer.Option("--from", help="Read all rows in this format, without detection.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="File to write (.json: an array); stdout without it.")] = None,
    lossy: Annotated[bool, typer.Option("--lossy", help="Drop what the format cannot hold, and count it.")] = False,
    json: Json = False,
) -> None:
    """Rows go to `--out`, or to stdout. Exit code 2 if rows were left out, since the format cannot hold them."""
    from tunesmith.api.conversion import convert, detect_formats
    from tunesmith.cli.render import print_json
    from tunesmith.core.errors import SourceError
    from tunesmith.core.records import to_json

    if not to:
        found = detect_formats(file, from_=from_)
        if json:
            print_json(found.as_dict())
        else:
            _describe(found)
        return
    if json and out is None:
        raise SourceError(
            "--json needs --out: stdout can take the rows or the summary, not both",
            value="--json",
            expected="--out FILE",
            hint=f"{shlex.join(['tunesmith', 'convert', str(file), '--to', to])} --out converted.jsonl",
        )
    made = convert(file, to=to, from_=from_, out=out, lossy=lossy)
    if out is None:
        sys.stdout.buffer.write(b"\n".join(to_json(row) for row in made.rows) + b"\n")
        sys.stdout.flush()
    if json:
        print_json(made.as_dict())
    else:
        _tell(made)
    if made.refused:
        sys.exit(2)


def _tell(made: ConvertResult) -> None:
    from tunesmith.cli.render import console

    said = console()
    kinds = ", ".join(f"{count:,} {name}" for name, count in made.formats.items())
    said.print(f"  read     {kinds or 'nothing'}")
    said.print(f"  written  {len(made.rows):,} {made.to}" + (f" to {made.out}" if made.out else ""))
    if made.turns:
        said.print("  prompts are lists of turns, since at least one row holds more than one user turn")
    if made.lost:
        said.print("  dropped  " + ", ".join(f"{name} ({count:,})" for name, count in made.lost.items()))
    for where, reason in made.refused[:_NUM_SHOWN]:
        said.print(f"  left out {where}: {reason}")
    if len(made.refused) > _NUM_SHOWN:
        said.print(f"  left out and {len(made.refused) - _NUM_SHOWN:,} more rows; --json names them all")


def _describe(found: FormatResult) -> None:
    """Every format met, with what was seen and how sure that is; of a mixed file, every row."""
    from tunesmith.cli.render import console, table

    lines = [[k.format, f"{k.sure:.0%}", f"{len(k.places):,}", k.saw, ", ".join(k.places[:3])] for k in found.kinds]
    lines += [["none", "", "1", reason, where] for where, reason in found.unreadable[:_NUM_SHOWN]]
    table("", ["format", "sure", "rows", "what was seen", "first rows"], lines)
    if len(found.unreadable) > _NUM_SHOWN:
        console().print(f"  and {len(found.unreadable) - _NUM_SHOWN:,} more rows that no format fits; --json names them all")
    if found.mixed:
        console().print("  the rows are in several formats; --to FORMAT brings them into one, --json tells each row's")
