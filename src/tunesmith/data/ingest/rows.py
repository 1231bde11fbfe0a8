"""JSON and JSON lines to examples and documents, in whatever format the rows are (see `tunesmith.data.rows`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tunesmith.core.labelled import Labelled
from tunesmith.core.records import Document, Example, Failure, Preference
from tunesmith.data.ingest.item import Reading, joined, make_document
from tunesmith.data.ingest.metadata import author_name, iso_date
from tunesmith.data.rows.entry import FormatError
from tunesmith.data.rows.example import (
    example_from_entry,
    labelled_from_entry,
    preference_from_entry,
    preferences_from_ranking,
    text_in,
)
from tunesmith.data.rows.raw import RawRow, json_rows
from tunesmith.data.rows.read import read_entry
from tunesmith.data.text.decode import UnreadableError, decode
from tunesmith.data.text.prose import tidy

__all__ = ["read_in_pieces", "read_objects", "read_rows", "record_of"]

_PIECE = 2_000  # records
_MAX_LISTED = 20


def read_rows(data: bytes, *, name: str) -> Reading:
    """Examples and documents of a `.json` or `.jsonl` file, told apart by content, not by name.

    Lines end at `\\n` alone. Bad rows become failures that name the line (of JSON lines) or row: twenty at most, then a count.
    """
    return read_objects(json_rows(decode(data).encode()), name=name)


def read_objects(rows: Iterable[RawRow], *, name: str) -> Reading:
    """Examples and documents of parsed rows, given as (place, row, problem): one with a problem is only named.

    Texts stay as they are, blanks included; what an example cannot hold is counted in `notes`. UnreadableError, with the
    first problem, if no row could be used.
    """
    return joined(read_in_pieces(rows, name=name))


def read_in_pieces(rows: Iterable[RawRow], *, name: str) -> Iterator[Reading]:
    """The same in pieces of 2,000 records, so that memory does not grow; the last piece carries failures and notes."""
    documents: list[Document] = []
    pairs: list[Example] = []
    preferences: list[Preference] = []
    labelled: list[Labelled] = []
    problems: list[str] = []
    notes: Counter[str] = Counter()
    num_bad = num_good = 0
    for place, row, problem in rows:
        try:
            if problem:
                raise UnreadableError(problem)
            records, left_out = _records_of(row, name=name)
        except UnreadableError as error:
            num_bad += 1
            if num_bad <= _MAX_LISTED:
                problems.append(f"{place}: {error}")
            continue
        num_good += 1
        notes.update(left_out)
        for record in records:
            if isinstance(record, Document):
                documents.append(record)
            elif isinstance(record, Preference):
                preferences.append(record)
            elif isinstance(record, Labelled):
                labelled.append(record)
            else:
                pairs.append(record)
        if len(pairs) + len(preferences) + len(labelled) + len(documents) >= _PIECE:
            yield Reading(
                documents=tuple(documents), pairs=tuple(pairs), preferences=tuple(preferences), labelled=tuple(labelled)
            )
            documents, pairs, preferences, labelled = [], [], [], []
    if not num_good:
        raise UnreadableError(f"no row could be used; {problems[0]}" if problems else "it is empty")
    failures = [Failure(source=name, reason=problem) for problem in problems]
    if num_bad > _MAX_LISTED:
        failures.append(Failure(source=name, reason=f"and {num_bad - _MAX_LISTED} more rows that could not be used"))
    yield Reading(
        documents=tuple(documents),
        pairs=tuple(pairs),
        preferences=tuple(preferences),
        labelled=tuple(labelled),
        failures=tuple(failures),
        notes=dict(notes),
    )


def record_of(row: object, *, name: str) -> tuple[Document | Example | Preference | Labelled, tuple[str, ...]]:
    """What one parsed row is to Tunesmith, and what of it the record does not hold, in words.

    UnreadableError, with the reason, for a row that cannot be read or must not be learned, and for one that is several records.
    """
    records, left_out = _records_of(row, name=name)
    if len(records) > 1:
        raise UnreadableError("its ranked answers are several preferences; tunesmith convert --to preference writes them out")
    return records[0], left_out


def _records_of(row: object, *, name: str) -> tuple[Sequence[Document | Example | Preference | Labelled], tuple[str, ...]]:
    """What one parsed row is to Tunesmith (a ranking is several preferences), and what of it the records do not hold, in words.

    UnreadableError, with the reason, for a row that cannot be read or must not be learned.
    """
    try:
        entry, _ = read_entry(row)
        if entry.kind == "text":
            return [_document(entry.extras, entry.text, name=name)], ()
        if entry.kind == "ranking":
            return preferences_from_ranking(entry, name=name)
        record: Preference | Labelled | Example
        if entry.kind == "preference":
            record, left_out = preference_from_entry(entry, name=name)
        elif entry.kind == "label":
            record, left_out = labelled_from_entry(entry, name=name)
        else:
            record, left_out = example_from_entry(entry, name=name)
        return [record], left_out
    except FormatError as error:
        raise UnreadableError(str(error)) from error
    except RecursionError as error:
        raise UnreadableError("it is nested too deeply") from error


def _document(row: Mapping[str, Any], text: str, *, name: str) -> Document:
    text = "\n\n".join(part for part in map(tidy, text.replace("\r\n", "\n").split("\n\n")) if part)
    if not text:
        raise UnreadableError("its text is empty")
    return make_document(
        name=name,
        text=text,
        title=text_in(row, "title"),
        url=text_in(row, "url"),
        author=author_name(row.get("authors") or row.get("author")),
        date=iso_date(row.get("date")),
        license=text_in(row, "license"),
        extraction="rows",
    )
