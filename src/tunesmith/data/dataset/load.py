"""A file of examples, read for checking: what training would take, where each row stands, and what reading met."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Example, Finding
from tunesmith.core.reporter import SilentReporter
from tunesmith.data.checks.rows import FIX, shared
from tunesmith.data.ingest.extract import extract
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.row_file import holds_rows, read_file
from tunesmith.data.rows.convert import Place
from tunesmith.data.rows.entry import Entry, FormatError, Turn
from tunesmith.data.rows.example import example_from_entry, with_own_ids

__all__ = ["Loaded", "load_examples"]

_ANSWERED = frozenset(("preference", "ranking"))
_LENGTH_BIAS, _FEWEST_PAIRS = 0.75, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Examples of a file, the place of each by id (`line 7`), how many rows are in each format, and findings of the reading."""

    examples: tuple[Example, ...]
    places: Mapping[str, str]
    formats: Mapping[str, int]
    findings: tuple[Finding, ...]


def load_examples(path: Path) -> Loaded:
    """Examples of rows, or of any file or folder that `ingest` takes; of preferences and rankings, with the best answer.

    Findings: `unreadable` (error), `mixed_formats`, `left_out`, and for preferences `same_answers` (error) and `length_bias`.
    DatasetError for a file without examples; SourceError for one that cannot be read.
    """
    loaded = _from_anything(path) if path.is_dir() or not holds_rows(path) else _from_rows(path)
    if not loaded.examples:
        raise DatasetError(
            "no examples in this file",
            value=str(path),
            expected="rows with a prompt and an answer" + (f" ({_reason(loaded)})" if loaded.findings else ""),
            hint="tunesmith convert FILE says what the rows are; tunesmith build --source … makes examples of plain text",
        )
    return loaded


def _reason(loaded: Loaded) -> str:
    return loaded.findings[0].rows[0] if loaded.findings[0].rows else loaded.findings[0].message


def _from_rows(path: Path) -> Loaded:
    file = read_file(path)
    refused = list(file.refused)
    kept: list[tuple[Place, Example]] = []
    left_out: dict[str, list[str]] = defaultdict(list)
    known: dict[str, bytes] = {}
    for row in file.rows:
        try:
            example, gone = example_from_entry(_best_answer(row.entry), name=path.name)
        except FormatError as error:
            if row.entry.kind != "label":  # a bad answer among KTO rows is no fault of the file
                refused.append((row.where, str(error)))
            continue
        example = next(with_own_ids([example], known))
        kept.append((row, example))
        for what in gone:
            left_out[what].append(example.id)
    places: dict[str, str] = {}
    for row, example in kept:
        places.setdefault(example.id, row.where)
    findings = [*_unreadable(refused), *_mixed(kept), *_left_out(left_out), *_pairs(kept)]
    return Loaded(examples=tuple(example for _, example in kept), places=places, formats=file.formats, findings=tuple(findings))


def _best_answer(entry: Entry) -> Entry:
    if entry.kind not in _ANSWERED:
        return entry
    turns = (*entry.turns, Turn(role="assistant", content=entry.answers[0]))
    return Entry(kind="conversation", turns=turns, tools=entry.tools, extras=entry.extras)


def _from_anything(path: Path) -> Loaded:
    found = extract(gather([str(path)]), reporter=SilentReporter())
    places = {example.id: f"row {number}" for number, example in reversed(list(enumerate(found.pairs, 1)))}
    failures = [(failure.source, failure.reason) for failure in found.failures]
    return Loaded(examples=found.pairs, places=places, formats={}, findings=tuple(_unreadable(failures)))


def _unreadable(refused: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    if refused:
        said = tuple(f"{where}: {reason}" for where, reason in refused)
        reason = f"{len(refused):,} rows cannot be read or learned, and would be left out; first: {said[0]}."
        message = f"{reason}{FIX}fix or drop these rows."
        yield Finding(name="unreadable", severity="error", message=message, count=len(refused), rows=said)


def _mixed(kept: Sequence[tuple[Place, Example]]) -> Iterator[Finding]:
    counts = Counter(row.found.format for row, _ in kept)
    if len(counts) < 2:
        return
    most = counts.most_common(1)[0][0]
    odd = [example.id for row, example in kept if row.found.format != most]
    told = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
    message = f"the rows are in {len(counts)} formats ({told}).{FIX}bring them into one: tunesmith convert FILE --to {most}."
    yield Finding(name="mixed_formats", severity="warning", message=message, count=len(odd), rows=tuple(dict.fromkeys(odd)))


def _left_out(left_out: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """What examples do not hold of the rows: turns after the last answer, labels, fields of turns."""
    if left_out:
        ids = tuple(dict.fromkeys(id for rows in left_out.values() for id in rows))
        told = ", ".join(f"{what} ({len(rows):,} rows)" for what, rows in sorted(left_out.items()))
        severe = any(what.startswith("turns after") for what in left_out)
        message = f"training does not take everything in these rows: {told}.{FIX}check that none of it should be trained."
        yield Finding(name="left_out", severity="warning" if severe else "info", message=message, count=len(ids), rows=ids)


def _pairs(kept: Sequence[tuple[Place, Example]]) -> Iterator[Finding]:
    """Faults of preferences: answers that are the same, and a preference that mostly goes by length."""
    pairs = [(row.entry.answers, example.id) for row, example in kept if row.entry.kind in _ANSWERED]
    same = [id for answers, id in pairs if answers[0].strip() == answers[-1].strip()]
    if same:
        message = (
            f"{len(same):,} of {len(pairs):,} preferences have the same answer twice, so neither is preferred.{FIX}drop them."
        )
        yield Finding(name="same_answers", severity="error", message=message, count=len(same), rows=tuple(same))
    longer = [id for answers, id in pairs if len(answers[0]) > len(answers[-1])]
    if len(pairs) >= _FEWEST_PAIRS and len(longer) > _LENGTH_BIAS * len(pairs):
        message = (
            f"in {shared(longer, pairs)} preferences the chosen answer is the longer one: "
            f"length is learned first.{FIX}add pairs whose chosen answer is the shorter one, or use a length-normalised loss."
        )
        yield Finding(name="length_bias", severity="warning", message=message, count=len(longer), rows=tuple(longer))
