"""Split rows without leaks; new rows never move old ones. Example: tunesmith split rows.jsonl --by document --json"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import Json

if TYPE_CHECKING:
    from tunesmith.api.splitting import SplitResult

__all__ = ["command"]

_NUM_SHOWN = 10


def command(  # noqa: PLR0913 (the options of a verb)
    file: Annotated[Path, typer.Argument(help="JSON lines: examples, or texts with id and text.")],
    by: Annotated[str, typer.Option(help="document, thread, author, time, group or row.")] = "document",
    val: Annotated[float, typer.Option(help="Share of documents (or threads, authors …) for early stopping.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of documents (or threads, authors …) for the verdict.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the split; another seed gives another split.")] = 7,
    group: Annotated[str, typer.Option(help="With --by group: the column whose equal values stay in one split.")] = "",
    stratify: Annotated[str, typer.Option(help="A column of labels that every split must contain.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="New folder for train, val, test and the removed copies.")] = None,
    json: Json = False,
) -> None:
    """Exit code 2 if an error is among the leaks. The JSON object is a contract (docs/reference/scripting.md)."""
    from tunesmith.api.splitting import split
    from tunesmith.cli.render import print_json

    result = split(file, by=by, val=val, test=test, seed=seed, group=group, stratify=stratify, out=out)
    if json:
        print_json(result.as_dict())
    else:
        _show(result)
    if result.blocked:
        sys.exit(2)


def _show(result: SplitResult) -> None:
    from tunesmith.cli.render import console, table

    out = console()
    table(
        "",
        ["split", "rows", "units", *result.labels],
        [
            [
                name,
                f"{len(result.splits[name]):,}",
                f"{result.units[name]:,}",
                *(str(counts[name]) for counts in result.labels.values()),
            ]
            for name in ("train", "val", "test")
        ],
    )
    for name, day in zip(("val", "test"), result.borders, strict=False):
        out.print(f"  {name} starts on {day}")
    if result.removed_copies:
        out.print(f"  {result.removed_copies:,} rows removed: copies of a row in a split with priority")
    for finding in (*result.leaks, *result.findings):
        out.print(f"  {finding.severity}: {finding.message}")
    if not result.leaks:
        out.print("  no leaks between the splits")
    for failure in result.failed[:_NUM_SHOWN]:
        out.print(f"  ! {failure.source}: {failure.reason}")
    if (more := len(result.failed) - _NUM_SHOWN) > 0:
        out.print(f"  ! and {more:,} more rows that cannot be read; tunesmith check names them")
    out.print(f"  written to {result.out}" if result.out is not None else "  hint: --out FOLDER writes train, val and test")
