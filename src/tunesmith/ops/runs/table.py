"""The table of runs: which settings differ, filtered by an expression, sorted by a column.

A column is a field of `RunRow` or the name of a setting (`train.learning_rate`, or its last word where only one has it).
"""

from __future__ import annotations

import gc
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ArtifactError
from tunesmith.ops.runs.row import RunRow, find_projects, rows_of

__all__ = ["RunsTable", "find_run", "runs_table"]

_FIELDS = tuple(f.name for f in fields(RunRow) if f.name not in {"settings", "loosened"})
_TERM = re.compile(r"""\s*([\w.]+)\s*(!=|<=|>=|=|<|>|~)\s*("[^"]*"|'[^']*'|.+?)\s*(?:$|\sand\s)""")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_HINT = "tunesmith runs --filter 'verdict=SHIP and train.learning_rate<1e-3'"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsTable:
    """Runs of one project or several. `differing`: settings that are not the same in all rows; `shared`: those that are.

    `num_runs` counts all runs, also those that the filter left out. `notes`: what could not be read or written.
    """

    rows: tuple[RunRow, ...]
    differing: tuple[str, ...]
    shared: Mapping[str, Any]
    num_runs: int
    projects: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith runs --json` prints. Settings of a row are those that differ."""
        rows = []
        for row in self.rows:
            own = {name: row.settings[name] for name in self.differing if name in row.settings}
            rows.append(row.as_dict() | {"settings": own})
        return {
            "runs": rows,
            "num_runs": self.num_runs,
            "differing": list(self.differing),
            "shared": dict(self.shared),
            "projects": list(self.projects),
            "notes": list(self.notes),
        }


def runs_table(places: Sequence[Path], *, sort: str = "", filters: Sequence[str] = ()) -> RunsTable:
    """The runs of the projects at `places`, newest first or by the column `sort` (`-column`: from high to low).

    ArtifactError for a place without a project, an unknown column, and a filter that cannot be read.
    """
    with _without_collections():
        return _table(find_projects(places), sort, filters)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Searching a growing heap for cycles, of which there are none here, takes a third of the time of 10,000 runs."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _table(projects: Sequence[Path], sort: str, filters: Sequence[str]) -> RunsTable:
    rows: list[RunRow] = []
    notes: list[str] = []
    for project in projects:
        found, note = rows_of(project)
        rows += found
        notes += [f"{project}: {note}"] if note else []
    if len(projects) > 1:
        rows.sort(key=lambda row: row.created or "", reverse=True)
    settings = _names(rows)
    kept = rows
    for text in filters:
        kept = [row for row in kept if all(test(row) for test in _tests(text, settings))]
    if sort:
        kept = _sorted(kept, _column(sort.removeprefix("-"), settings), high_first=sort.startswith("-"))
    differing, shared = _divided(kept)
    return RunsTable(
        rows=tuple(kept),
        differing=differing,
        shared=shared,
        num_runs=len(rows),
        projects=tuple(str(project) for project in projects),
        notes=tuple(notes),
    )


def find_run(prefix: str, rows: Sequence[RunRow]) -> RunRow:
    """The one run whose id begins with `prefix`, or the newest finished one for `run:latest`. ArtifactError otherwise."""
    wanted = prefix.removeprefix("run:").lower()
    done = [row for row in rows if row.state == "done"]
    newest = sorted(done, key=lambda row: row.created or "")[-1:]
    matches = newest if wanted == "latest" else [row for row in rows if wanted and row.id.startswith(wanted)]
    if len(matches) != 1:
        known = ", ".join(row.id[:8] for row in done[:6]) or "none yet"
        raise ArtifactError(
            "no such run" if not matches else f"{len(matches)} runs begin with that",
            value=prefix,
            expected=f"the first digits of one run's id; there are: {known}",
            hint="tunesmith runs",
        )
    if matches[0].state != "done":
        raise ArtifactError(
            f"this run is {matches[0].state}",
            value=matches[0].id[:16],
            expected="a finished run",
            hint="tunesmith runs --filter state=done",
        )
    return matches[0]


def _divided(rows: Sequence[RunRow]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Names of settings that differ between finished rows, and those that are the same in all."""
    named = [row.settings for row in rows if row.settings]
    if not named:
        return (), {}
    first = named[0]
    names = _names(rows)
    differing = {name for name in names if not _same_in_all(name, named)}
    return tuple(name for name in names if name in differing), {n: first[n] for n in names if n not in differing}


def _names(rows: Sequence[RunRow]) -> dict[str, None]:
    """Names of settings in the order of first sight."""
    return dict.fromkeys(name for names in dict.fromkeys(tuple(row.settings) for row in rows) for name in names)


def _same_in_all(name: str, named: Sequence[Mapping[str, Any]]) -> bool:
    try:
        values = [settings[name] for settings in named]
    except KeyError:
        return False
    return values.count(values[0]) == len(values)


def _sorted(rows: Sequence[RunRow], value: Callable[[RunRow], Any], *, high_first: bool) -> list[RunRow]:
    """Sorted by value; rows that have none come last either way."""
    known = [row for row in rows if value(row) is not None]
    numbers = all(isinstance(value(row), int | float) for row in known)
    known.sort(key=lambda row: value(row) if numbers else str(value(row)), reverse=high_first)
    return known + [row for row in rows if value(row) is None]


def _column(name: str, settings: Mapping[str, Any]) -> Callable[[RunRow], Any]:
    """What a row has in a column. ArtifactError for a name that no column has."""
    if name in _FIELDS:
        return operator.attrgetter(name)
    ends = [one for one in settings if one == name or one.endswith(f".{name}")]
    exact = [one for one in ends if one == name] or ends
    if len(exact) == 1:
        return lambda row: row.settings.get(exact[0])
    from tunesmith.core.settings import nearest  # loads pydantic, which a table does without

    known = [*_FIELDS, *settings]
    raise ArtifactError(
        "no such column" if not exact else f"{len(exact)} columns end in that",
        value=name,
        expected=f"one of {', '.join(exact or _FIELDS)}, or the name of a setting",
        hint=nearest(name, [*known, *(one.rpartition(".")[2] for one in known)]) or _HINT,
    )


def _tests(text: str, settings: Mapping[str, Any]) -> list[Callable[[RunRow], bool]]:
    """The conditions of an expression, joined by `and`; quotes hold a value together that has the word in it."""
    found: list[Callable[[RunRow], bool]] = []
    at = 0
    while at < len(text) or not found:
        if (term := _TERM.match(text, at)) is None:
            raise ArtifactError(
                "cannot read this filter",
                value=text[at:].strip(),
                expected="COLUMN=VALUE, with = != < <= > >= or ~ (contains), several joined by `and`",
                hint=_HINT,
            )
        found.append(_test(_column(term[1], settings), term[2], term[3].strip("\"'"), term[0].strip()))
        at = term.end()
    return found


def _test(value: Callable[[RunRow], Any], sign: str, wanted: str, part: str) -> Callable[[RunRow], bool]:
    """One condition. A value that is not known satisfies `!=` alone, and `=none`."""
    number = _number(wanted)
    if sign == "~":
        return lambda row: wanted.lower() in str(value(row) or "").lower()
    if sign in {"=", "!="}:
        equal = sign == "="
        return lambda row: _same(value(row), wanted, number) is equal
    if number is None:
        raise ArtifactError("this filter compares with a word", value=part, expected="a number after < or >", hint=_HINT)
    return lambda row: isinstance(own := value(row), int | float) and _COMPARE[sign](own, number)


def _same(own: Any, wanted: str, number: float | None) -> bool:
    if own is None:
        return wanted.lower() == "none"
    if isinstance(own, bool):
        return str(own).lower() == wanted.lower()
    if isinstance(own, int | float):
        return number is not None and own == number
    return str(own).lower() == wanted.lower() or (len(wanted) >= 4 and _is_id(own) and own.startswith(wanted.lower()))


def _is_id(own: object) -> bool:
    return isinstance(own, str) and re.fullmatch(r"[0-9a-f]{16,64}", own) is not None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
