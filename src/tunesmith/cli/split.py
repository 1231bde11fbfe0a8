"""`split`: the rows of a file in train, val and test, with what leaks between them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from tunesmith.cli.render import console, print_json, table
from tunesmith.core.errors import DatasetError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import Example, Finding, to_json
from tunesmith.data.dedup.write import write_new_folder
from tunesmith.data.leaks import find_leaks, without_copies
from tunesmith.data.lines import Lines, read_lines
from tunesmith.data.split import By, Drawn
from tunesmith.data.split import split as drawn_splits

__all__ = ["split"]

_NUM_SHOWN = 10
_FILES_SHOWN = ("train", "val", "test")


def split(
    file: Path, *, by: str, val: float, test: float, seed: int, columns: tuple[str, str], out: Path | None, json: bool
) -> None:
    """Split a file's rows; `columns`: those of groups and of labels. With `out`, write train, val, test and what was removed.

    Rows of train and val that copy a row of a split that matters more are removed and counted. With `json`, `{"n", "counts",
    "leaks", …}` goes to stdout. Exit code 2 if an error is among the leaks.
    """
    _check_options(by, val=val, test=test, group=columns[0])
    lines = read_lines(file)
    way: By = by  # type: ignore[assignment]
    drawn = drawn_splits(lines.examples, by=way, val=val, test=test, seed=seed, column=columns[0], stratify=columns[1])
    kept, removed = without_copies({str(name): rows for name, rows in drawn.parts.items()})
    leaks = find_leaks(kept)
    if out is not None:
        settings = {"by": by, "val": val, "test": test, "seed": seed, "columns": list(columns), "input": sha256_file(file)}
        write_new_folder(out, kind="split", settings=settings, fill=lambda place: _fill(place, lines, kept))
    if json:
        print_json(_as_json(lines, drawn, kept, removed, leaks, by=by, out=out))
    else:
        _show(lines, drawn, kept, removed, leaks, out=out)
    if any(leak.severity == "error" for leak in leaks):
        sys.exit(2)


def _check_options(by: str, *, val: float, test: float, group: str) -> None:
    if by not in get_args(By):
        raise DatasetError("there is no such way to split", value=by, expected=", ".join(get_args(By)), hint="--by document")
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 0.9):
        raise DatasetError(
            "these shares leave too little to train on",
            value=f"val {val}, test {test}",
            expected="shares of 0 or more that leave a tenth at least",
            hint="--val 0.1 --test 0.2",
        )
    if (by == "group") != bool(group):
        raise DatasetError(
            "--by group and --group COLUMN go together",
            value=f"--by {by}" + (f" --group {group}" if group else ""),
            expected="both, or neither",
            hint=f"--by group --group {group or 'COLUMN'}",
        )


def _fill(place: Path, lines: Lines, kept: Mapping[str, Sequence[Example]]) -> dict[str, int]:
    rows = {example.id: row for example, row in zip(lines.examples, lines.rows, strict=True)}
    counts = {}
    for name, examples in kept.items():
        with (place / f"{name}.jsonl").open("wb") as file:
            for example in examples:
                file.write(to_json(rows.pop(example.id)) + b"\n")
        counts[name] = len(examples)
    with (place / "removed.jsonl").open("wb") as file:
        for row in rows.values():
            file.write(to_json(row) + b"\n")
    return counts


def _as_json(
    lines: Lines,
    drawn: Drawn,
    kept: Mapping[str, Sequence[Example]],
    removed: int,
    leaks: Sequence[Finding],
    *,
    by: str,
    out: Path | None,
) -> dict[str, Any]:
    return {
        "n": len(lines.examples),
        "by": by,
        "counts": {name: len(rows) for name, rows in kept.items()},
        "groups": {name: len({e.group for e in rows}) for name, rows in kept.items()},
        "units": dict(drawn.units),
        "labels": {label: dict(counts) for label, counts in drawn.labels.items()},
        "borders": dict(zip(("val", "test"), drawn.borders, strict=False)),
        "removed_copies": removed,
        "leaks": [_told(leak) for leak in leaks],
        "findings": [_told(finding) for finding in drawn.findings],
        "failed": [asdict(failure) for failure in lines.failed],
        "out": str(out) if out is not None else None,
    }


def _told(finding: Finding) -> dict[str, Any]:
    return {"id": finding.name, **{k: v for k, v in asdict(finding).items() if k != "name"}}


def _show(
    lines: Lines,
    drawn: Drawn,
    kept: Mapping[str, Sequence[Example]],
    removed: int,
    leaks: Sequence[Finding],
    *,
    out: Path | None,
) -> None:
    told = console()
    table(
        "",
        ["split", "rows", "units", *drawn.labels],
        [
            [name, f"{len(kept[name]):,}", f"{drawn.units[name]:,}", *(str(counts[name]) for counts in drawn.labels.values())]  # type: ignore[index]
            for name in _FILES_SHOWN
        ],
    )
    for name, day in zip(("val", "test"), drawn.borders, strict=False):
        told.print(f"  {name} begins on {day}")
    if removed:
        told.print(f"  {removed:,} rows removed: they copy a row of a split that matters more")
    for finding in (*leaks, *drawn.findings):
        told.print(f"  {finding.severity}: {finding.message}")
    if not leaks:
        told.print("  no leaks between the splits")
    for failure in lines.failed[:_NUM_SHOWN]:
        told.print(f"  ! {failure.source}: {failure.reason}")
    if (more := len(lines.failed) - _NUM_SHOWN) > 0:
        told.print(f"  ! and {more:,} more rows that cannot be read; tunesmith check names them")
    told.print(f"  written to {out}" if out is not None else "  hint: --out FOLDER writes train, val and test")
