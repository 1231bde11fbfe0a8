"""`split`: the rows of a file in train, val and test, with what leaks between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

from tunesmith.core.errors import DatasetError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import Failure, Finding, Row, to_json
from tunesmith.data.dataset.leaks import find_leaks, without_copies
from tunesmith.data.dataset.lines import Lines, read_rows_as_examples
from tunesmith.data.dataset.split import By
from tunesmith.data.dataset.split import split as drawn_splits
from tunesmith.data.similar.write import write_new_folder

__all__ = ["SplitResult", "split"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitResult:
    """The rows of each split, and facts about how they were split.

    `n` rows were read. `units`: documents, threads, authors … of each split, `labels` the rows of each label by split.
    `borders`: the first days of val and test in a split by time. `removed_copies`: rows taken out because they copy a row of
    a split with priority; `removed_by_kind`: the same by kind of copy. `leaks` and `findings`: remaining leaks and other
    problems. `failed`: rows that could not be used. `out`: the folder written, if any.
    """

    n: int
    by: str
    splits: Mapping[str, tuple[Row, ...]]
    units: Mapping[str, int]
    labels: Mapping[str, Mapping[str, int]]
    borders: tuple[str, ...]
    removed_copies: int
    removed_by_kind: Mapping[str, int]
    leaks: tuple[Finding, ...]
    findings: tuple[Finding, ...]
    failed: tuple[Failure, ...]
    out: Path | None

    @property
    def blocked(self) -> bool:
        """Whether a leak is an error."""
        return any(leak.severity == "error" for leak in self.leaks)

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith split --json` prints: figures, without the rows."""
        return {
            "n": self.n,
            "by": self.by,
            "counts": {name: len(rows) for name, rows in self.splits.items()},
            "groups": {name: len({e.group for e in rows}) for name, rows in self.splits.items()},
            "units": dict(self.units),
            "labels": {label: dict(counts) for label, counts in self.labels.items()},
            "borders": dict(zip(("val", "test"), self.borders, strict=False)),
            "removed_copies": self.removed_copies,
            "removed_by_kind": dict(self.removed_by_kind),
            "leaks": [_plain(leak) for leak in self.leaks],
            "findings": [_plain(finding) for finding in self.findings],
            "failed": [asdict(failure) for failure in self.failed],
            "out": str(self.out) if self.out is not None else None,
        }


def split(
    file: str | Path,
    *,
    by: str = "document",
    val: float = 0.1,
    test: float = 0.2,
    seed: int = 7,
    group: str = "",
    stratify: str = "",
    out: str | Path | None = None,
) -> SplitResult:
    """Split a file's rows by `document`, `thread`, `author`, `time`, `group` or `row`. New rows move no old ones, except
    those that were moved into a split which the draw had left with too few: a finding of the result names them.

    `val` and `test` are shares of units (0 to 1). `group`: with `by="group"`, the column whose equal values stay in one
    split. `stratify`: a column of labels that every split must contain. With `out`, all splits and the removed rows are
    written into that new folder.

    Raises:
        DatasetError: options that exclude each other, too few units, or no row that can be used.
        SourceError: a file that cannot be read.
        StorageError: `out` already exists with other contents, or cannot be written.
    """
    _check_options(by, val=val, test=test, group=group)
    path, folder = Path(file), Path(out) if out is not None else None
    lines = read_rows_as_examples(path)
    drawn = drawn_splits(lines.examples, by=cast("By", by), val=val, test=test, seed=seed, column=group, stratify=stratify)
    kept, removed = without_copies({str(name): rows for name, rows in drawn.parts.items()})
    if folder is not None:
        columns = [group, stratify]
        settings = {"by": by, "val": val, "test": test, "seed": seed, "columns": columns, "input": sha256_file(path)}
        write_new_folder(folder, kind="split", settings=settings, fill=lambda place: _fill(place, lines, kept))
    return SplitResult(
        n=len(lines.examples),
        by=by,
        splits={name: tuple(rows) for name, rows in kept.items()},
        units={str(name): count for name, count in drawn.units.items()},
        labels={label: {str(name): n for name, n in counts.items()} for label, counts in drawn.labels.items()},
        borders=drawn.borders,
        removed_copies=sum(removed.values()),
        removed_by_kind=removed,
        leaks=tuple(find_leaks(kept)),
        findings=drawn.findings,
        failed=lines.failed,
        out=folder,
    )


def _check_options(by: str, *, val: float, test: float, group: str) -> None:
    if by not in get_args(By):
        raise DatasetError("unknown value of `by`", value=by, expected=", ".join(get_args(By)), hint="--by document")
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


def _fill(place: Path, lines: Lines, kept: Mapping[str, Sequence[Row]]) -> dict[str, int]:
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


def _plain(finding: Finding) -> dict[str, Any]:
    return {"id": finding.name, **{k: v for k, v in asdict(finding).items() if k != "name"}}
