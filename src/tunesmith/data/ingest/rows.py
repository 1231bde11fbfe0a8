"""JSON and JSON lines to examples and documents, in whatever format the rows are (see `tunesmith.data.rows`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tunesmith.core.records import Document, Example, Failure, Preference
from tunesmith.data.ingest.item import Reading, make_document
from tunesmith.data.ingest.metadata import author_name, iso_date
from tunesmith.data.rows.entry import FormatError
from tunesmith.data.rows.example import example_from_entry, preference_from_entry, text_in
from tunesmith.data.rows.raw import RawRow, json_rows
from tunesmith.data.rows.read import read_entry
from tunesmith.data.text.decode import UnreadableError, decode
from tunesmith.data.text.prose import tidy

__all__ = ["read_objects", "read_rows"]

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
    documents: list[Document] = []
    pairs: list[Example] = []
    preferences: list[Preference] = []
    problems: list[str] = []
    notes: Counter[str] = Counter()
    for place, row, problem in rows:
        if problem:
            problems.append(f"{place}: {problem}")
            continue
        try:
            entry, _ = read_entry(row)
            if entry.kind == "text":
                documents.append(_document(entry.extras, entry.text, name=name))
            elif entry.kind == "preference":
                preference, left_out = preference_from_entry(entry, name=name)
                preferences.append(preference)
                notes.update(left_out)
            else:
                example, left_out = example_from_entry(entry, name=name)
                pairs.append(example)
                notes.update(left_out)
        except (FormatError, UnreadableError) as error:
            problems.append(f"{place}: {error}")
        except RecursionError:
            problems.append(f"{place}: it is nested too deeply")
    if not (documents or pairs or preferences):
        raise UnreadableError(f"no row could be used; {problems[0]}" if problems else "it is empty")
    failures = [Failure(source=name, reason=problem) for problem in problems[:_MAX_LISTED]]
    if len(problems) > _MAX_LISTED:
        failures.append(Failure(source=name, reason=f"and {len(problems) - _MAX_LISTED} more rows that could not be used"))
    return Reading(
        documents=tuple(documents),
        pairs=tuple(pairs),
        preferences=tuple(preferences),
        failures=tuple(failures),
        notes=dict(notes),
    )


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
