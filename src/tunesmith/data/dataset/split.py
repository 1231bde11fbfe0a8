"""Split rows of any kind into train, val and test: what belongs together stays together, and new rows move no old ones, except
those that fill a split which the draw left short."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Finding, Row, digest
from tunesmith.data.ingest.metadata import iso_date

__all__ = ["By", "Drawn", "Fold", "Split", "place", "split", "told_by"]

R = TypeVar("R", bound=Row)
Split = Literal["train", "val", "test"]
By = Literal["document", "thread", "author", "time", "group", "row"]
_NEEDED: Mapping[Split, int] = {"train": 2, "val": 1, "test": 2}
_WHAT: Mapping[By, str] = {
    "document": "documents",
    "thread": "threads",
    "author": "authors",
    "time": "documents",
    "group": "groups",
    "row": "rows",
}
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "thread": ("thread", "thread_id", "conversation_id", "conversation", "session_id", "session", "channel"),
    "author": ("author", "authors", "user", "user_id", "speaker"),
    "time": ("date", "created_at", "created", "timestamp", "time"),
}
_LEAST_TEST = 6  # the two-sided sign-flip test over k units cannot go below 2 / 2^k: 0.031 for six, 0.063 for five


@dataclass(frozen=True, slots=True)
class Drawn(Generic[R]):
    """The rows of each split in the order given, how many units each has, and what the reader should know of the draw.

    `labels`: rows of each label by split, where the split was stratified. `borders`: the first days of val and test, by time.
    """

    parts: Mapping[Split, tuple[R, ...]]
    units: Mapping[Split, int]
    labels: Mapping[str, Mapping[Split, int]]
    borders: tuple[str, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One fold of a cross-fit: `number`, from 1, of `of` folds."""

    number: int
    of: int


def place(group: str, *, val: float, test: float, seed: int) -> Split:
    """Where a group belongs: a pure function of its name and the seed, so nothing else in the dataset can move it."""
    u = _drawn(group, seed)
    return "test" if u < test else "val" if u < test + val else "train"


def _drawn(group: str, seed: int) -> float:
    """The number of a group, evenly distributed from 0 to 1."""
    return int(digest(str(seed), group)[:13], 16) / 16**13


def told_by(row: Row, what: Literal["thread", "author", "time"]) -> str | None:
    """What a row's columns say of its thread, author or time: the first of the known columns that has a value."""
    return next((row.meta[name] for name in _COLUMNS[what] if row.meta.get(name)), None)


def split(
    examples: Sequence[R],
    *,
    by: By,
    val: float,
    test: float,
    seed: int,
    column: str = "",
    stratify: str = "",
    fold: Fold | None = None,
) -> Drawn[R]:
    """Draw the splits. `by` says what stays on one side: a document, thread, author, the rows of one value of `column` (group).

    All but `time` place a unit by a hash of its name, so rows that come later do not move those that are there. Where that
    leaves a split short, the units nearest to its border are moved into it, which is a finding; with more rows they may go
    back. `time` puts the latest days into test and those before into val, whole days; the borders move as days are added. Rows
    without the thread, author or column count as their document; rows without a date go to train; both are findings. With
    `stratify`, the column of a label, units are hashed within their label, and a label with units enough is in every split. A
    share of 0 leaves that split empty.

    With `fold`, test is that fold of the units, in place of a share of them: over all folds each unit is in test once. Units
    are dealt to the folds in the order of their hashes (by label first): sizes differ by one at most, new units move old ones.

    Raises:
        ValueError: a fold of a split by time.
        DatasetError: there are fewer units than two for train and test and one for val; a column that no row has; a label that
            a fold or a split by time leaves out.
    """
    units, findings = _units(examples, by, column)
    labels = _labels(examples, units, stratify) if stratify else {}
    names = list(dict.fromkeys(units))
    borders: tuple[str, ...] = ()
    moved: Mapping[str, Split] = {}
    if fold is not None:
        if by == "time":
            raise ValueError("a split by time has no folds: only the latest days can be test")
        places = _by_fold(names, labels, val=val, seed=seed, fold=fold)
    elif by == "time":
        places, borders, moved = _by_time(examples, val=val, test=test)
    else:
        places, moved = _by_hash(names, labels, val=val, test=test, seed=seed)
    counts = _counts(places)
    needed = _needed(val, test)
    if any(counts[name] < needed[name] for name in needed):
        raise _too_few(names, counts, needed, by=by, fold=fold)
    if labels and (missing := _missing(places, labels, val, test)):
        raise _labels_missing(missing, stratify)
    parts: dict[Split, list[R]] = {"train": [], "val": [], "test": []}
    for example, unit in zip(examples, units, strict=True):
        parts[places[unit]].append(example)
    findings += [_filled(moved, places, by)] if moved else []
    if 0 < counts["test"] < _LEAST_TEST and fold is None:  # a fold gets no verdict of its own
        findings.append(_few(counts["test"], by))
    told: dict[str, dict[Split, int]] = {}
    for name, rows in parts.items():
        for label, count in Counter(example.meta.get(stratify, "") for example in rows).items() if labels else ():
            told.setdefault(label, {"train": 0, "val": 0, "test": 0})[name] = count
    return Drawn(
        {name: tuple(rows) for name, rows in parts.items()}, counts, dict(sorted(told.items())), borders, tuple(findings)
    )


def _units(examples: Sequence[Row], by: By, column: str) -> tuple[list[str], list[Finding]]:
    """The unit of each row, and what could not be seen."""
    if by == "row":
        return [example.id for example in examples], []
    if by == "document":
        return [example.group for example in examples], []
    if by == "time":
        days = _days(examples)
        values = [days[example.group] for example in examples]
        units, told = [example.group for example in examples], "rows without a date go to train"
    else:
        values = [example.meta.get(column, "") if by == "group" else told_by(example, by) or "" for example in examples]
        units = [value or f"document {example.group}" for value, example in zip(values, examples, strict=True)]
        told = f"rows name no {column or by} and count as their document"
    bare = [example.id for example, value in zip(examples, values, strict=True) if not value]
    if len(bare) == len(examples):
        raise _no_column(examples, "date" if by == "time" else by, column)
    if not bare:
        return units, []
    message = f"{len(bare)} of {len(examples)} {told}"
    return units, [Finding(name=f"no_{by}", severity="warning", message=message, count=len(bare), rows=tuple(bare[:20]))]


def _no_column(examples: Sequence[Row], what: str, column: str) -> DatasetError:
    known = sorted({name for example in examples for name in example.meta})
    return DatasetError(
        f"no row has a value in the column of {what}s" if column else f"no row has a {what}",
        value=column or ", ".join(_COLUMNS["time" if what == "date" else what]),
        expected="a column that the rows have" + (f"; there are {', '.join(known[:12])}" if known else "; there is none"),
        hint="name a column that is there, or --by document",
    )


def _by_hash(
    names: Sequence[str], labels: Mapping[str, str], *, val: float, test: float, seed: int
) -> tuple[dict[str, Split], dict[str, Split]]:
    """The place of each unit, and of those that were moved into a split that the hashes left short: where they were before."""
    keys = {name: f"{labels[name]}\0{name}" if labels else name for name in names}
    hashed = {name: place(key, val=val, test=test, seed=seed) for name, key in keys.items()}
    places, needed = dict(hashed), _needed(val, test)
    if len(names) < sum(needed.values()):
        return places, {}
    ends: Mapping[Split, tuple[float, float]] = {"test": (0.0, test), "val": (test, test + val), "train": (test + val, 1.0)}

    def fill(into: Split, candidates: Sequence[str]) -> None:
        low, high = ends[into]
        at = {name: _drawn(keys[name], seed) for name in candidates}
        places[min(at, key=lambda name: (max(low - at[name], at[name] - high), at[name], name))] = into

    of_label: dict[str, list[str]] = defaultdict(list)
    for name, label in labels.items():
        of_label[label].append(name)
    for label, into in _missing(places, labels, val, test):
        there = Counter(places[name] for name in of_label[label])
        fill(into, [name for name in of_label[label] if there[places[name]] > 1])
    everywhere = {label for label, units in of_label.items() if len(units) >= len(_wanted(val, test))}
    for into in ("test", "val", "train"):
        while (counts := _counts(places))[into] < needed[into]:
            kinds = Counter((labels.get(name), places[name]) for name in names)
            spare = [name for name in names if counts[places[name]] > needed[places[name]]]
            fill(into, [n for n in spare if labels.get(n) not in everywhere or kinds[labels[n], places[n]] > 1])
    return places, {name: old for name, old in hashed.items() if places[name] != old}


def _filled(moved: Mapping[str, Split], places: Mapping[str, Split], by: By) -> Finding:
    into = Counter(places[name] for name in moved)
    shown = " and ".join(f"{count} into {name}" for name, count in into.items())
    message = (
        f"of {len(places)} {_WHAT[by]}, the draw left too few in {' and '.join(into)}: those nearest to the border were moved,"
        f" {shown}"
    )
    return Finding(name="filled_splits", severity="info", message=message, count=len(moved), rows=tuple(moved)[:20])


def _by_fold(names: Sequence[str], labels: Mapping[str, str], *, val: float, seed: int, fold: Fold) -> dict[str, Split]:
    """Test is every `fold.of`-th unit by hash; val the share `val` of all units, at least one of the rest."""

    def order(units: Sequence[str], salt: str) -> list[str]:
        return sorted(units, key=lambda unit: (labels.get(unit, ""), digest(str(seed), salt, unit)))

    test = set(order(names, "fold")[fold.number - 1 :: fold.of])
    rest = order([name for name in names if name not in test], "val")
    num_val = min(len(rest), max(1, round(val * len(names)))) if val > 0 else 0
    drawn = {rest[int((n + 0.5) * len(rest) / num_val)] for n in range(num_val)}  # evenly over the labels
    return {name: "test" if name in test else "val" if name in drawn else "train" for name in names}


def _by_time(examples: Sequence[Row], *, val: float, test: float) -> tuple[dict[str, Split], tuple[str, ...], dict[str, Split]]:
    """The latest days with about `test` of the dated rows to test, those before to val, the rest (and no date) to train.

    If that leaves a split short, as many of the latest days as it needs. Also gives the borders, and where the documents that
    this moved were before.
    """
    days = _days(examples)
    rows = Counter(days[example.group] for example in examples if days[example.group])
    total, later = sum(rows.values()), 0
    of_day: dict[str, Split] = {}
    for day in sorted(rows, reverse=True):
        middle = (later + rows[day] / 2) / total  # a day goes where its middle lies
        of_day[day] = "test" if middle < test else "val" if middle < test + val else "train"
        later += rows[day]
    places = {group: of_day.get(day, "train") for group, day in days.items()}
    moved: dict[str, Split] = {}
    needed, counts = _needed(val, test), _counts(places)
    if any(counts[name] < needed[name] for name in needed):
        documents, filled = Counter(days.values()), Counter[Split]()
        for day in sorted(rows, reverse=True):
            of_day[day] = next((name for name in ("test", "val") if filled[name] < needed[name]), "train")
            filled[of_day[day]] += documents[day]
        before, places = places, {group: of_day.get(day, "train") for group, day in days.items()}
        moved = {group: name for group, name in before.items() if places[group] != name}
    borders = tuple(min((day for day in rows if of_day[day] == name), default="") for name in ("val", "test"))
    return places, borders, moved


def _days(examples: Sequence[Row]) -> dict[str, str]:
    """The day of each document: the latest of its rows, so that train holds nothing later than its border; empty if unknown."""
    days: dict[str, str] = {}
    for example in examples:
        value = told_by(example, "time") or ""
        days[example.group] = max(days.get(example.group, ""), iso_date(value) or "")
    return days


def _labels(examples: Sequence[Row], units: Sequence[str], column: str) -> dict[str, str]:
    """The label of each unit: the most frequent of its rows, the first by name among equals."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for example, unit in zip(examples, units, strict=True):
        found[unit][example.meta.get(column, "")] += 1
    if not any(label for counts in found.values() for label in counts):
        raise _no_column(examples, "label", column)
    return {unit: min(counts, key=lambda label: (-counts[label], label)) for unit, counts in found.items()}


def _counts(places: Mapping[str, Split]) -> dict[Split, int]:
    counts: dict[Split, int] = {"train": 0, "val": 0, "test": 0}
    for name in places.values():
        counts[name] += 1
    return counts


def _needed(val: float, test: float) -> dict[Split, int]:
    return {**_NEEDED, "val": _NEEDED["val"] if val > 0 else 0, "test": _NEEDED["test"] if test > 0 else 0}


def _wanted(val: float, test: float) -> tuple[Split, ...]:
    return tuple(name for name, count in _needed(val, test).items() if count)


def _missing(places: Mapping[str, Split], labels: Mapping[str, str], val: float, test: float) -> list[tuple[str, Split]]:
    """Labels, with units enough for every split, that a split has none of."""
    wanted = _wanted(val, test)
    there: dict[str, Counter[Split]] = defaultdict(Counter)
    for unit, label in labels.items():
        there[label][places[unit]] += 1
    return [
        (label, name)
        for label, counts in sorted(there.items())
        if sum(counts.values()) >= len(wanted)
        for name in wanted
        if not counts[name]
    ]


def _labels_missing(missing: Sequence[tuple[str, Split]], stratify: str) -> DatasetError:
    """Of a fold or a split by time: a drawn split is filled up instead."""
    return DatasetError(
        f"{len(missing)} labels of the column {stratify} are missing from a split",
        value=", ".join(f"{label or 'no label'} in {name}" for label, name in missing[:5]),
        expected="every label with three units or more in every split",
        hint="more rows of these labels, or no stratify",
    )


def _few(count: int, by: By) -> Finding:
    message = (
        f"test has {count} {_WHAT[by]}; a paired sign-flip test over {count} cannot go below p = {2 / 2**count:.3f}, and "
        f"{_LEAST_TEST} are the least with which p ≤ 0.05 can be reached: no interval will be claimed"
    )
    return Finding(name="few_test_units", severity="warning", message=message, count=count)


def _too_few(
    names: Sequence[str], counts: Mapping[Split, int], needed: Mapping[Split, int], *, by: By, fold: Fold | None
) -> DatasetError:
    what = _WHAT[by]
    got = ", ".join(f"{name} {counts[name]}" for name in counts)
    wanted = ", ".join(f"{needed[name]} in {name}" for name in needed if needed[name])
    hint = f"add more writing: at least {2 * sum(needed.values())} {what}"
    if fold is not None:
        hint = "fewer folds, or more writing"
    elif len(names) >= sum(needed.values()):
        hint = "--set split.test=0.4 --set split.val=0.2, or more writing"
    return DatasetError(
        f"too few {what} to split",
        value=f"{len(names)} {what}: {got}" + (f" (fold {fold.number} of {fold.of})" if fold else ""),
        expected=f"at least {wanted}; {_LEAST_TEST} in test for a verdict with p ≤ 0.05",
        hint=hint,
    )
