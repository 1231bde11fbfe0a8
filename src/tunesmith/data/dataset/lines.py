"""A file of rows as examples, each beside the row it came from: rows are sorted into files without losing a field."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.core.errors import DatasetError, SourceError
from tunesmith.core.records import Document, Failure, Row
from tunesmith.data.dataset.golden import golden_example
from tunesmith.data.ingest.rows import record_of
from tunesmith.data.rows.raw import json_rows
from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["Lines", "read_rows_as_examples"]


@dataclass(frozen=True, slots=True)
class Lines:
    """Rows as examples or preferences (a text is one turn of the assistant), the rows themselves, and what failed."""

    examples: tuple[Row, ...]
    rows: tuple[Any, ...]
    failed: tuple[Failure, ...]


def read_rows_as_examples(path: Path) -> Lines:
    """The rows of a JSON or JSON-lines file. Each example gets an id of its own: the row's, else `line N` or `row N`.

    Raises:
        SourceError: the file cannot be read or is no JSON.
        DatasetError: no row can be used, or an id comes twice.
    """
    if path.is_dir():
        raise SourceError(
            "this is a folder, not a file of rows",
            value=str(path),
            expected="JSON lines: a row on each line",
            hint=f"tunesmith build --source {shlex.quote(str(path))} makes rows of a folder of writing, and splits them",
        )
    try:
        whole = list(json_rows(decode(path.read_bytes()).encode()))
    except (OSError, UnreadableError) as error:
        raise SourceError(
            "cannot read this file",
            value=str(path),
            expected=f"JSON lines ({getattr(error, 'strerror', None) or error})",
            hint="tunesmith convert FILE says what a file holds",
        ) from error
    examples: list[Row] = []
    rows: list[Any] = []
    failed: list[Failure] = []
    seen: set[str] = set()
    for place, row, problem in whole:
        try:
            if problem:
                raise UnreadableError(problem)
            example = _example(row, path.name, place)
        except UnreadableError as error:
            failed.append(Failure(source=f"{path.name} {place}", reason=str(error)))
            continue
        if example.id in seen:
            raise DatasetError(
                "an id comes more than once",
                value=example.id,
                expected="an id of its own for every row",
                hint="give the rows new ids, or remove their ids: rows without ids are named by line",
            )
        seen.add(example.id)
        examples.append(example)
        rows.append(row)
    if not examples:
        raise DatasetError(
            "no row in this file can be used",
            value=str(path),
            expected="examples or texts, one a line" + (f"; {failed[0].source}: {failed[0].reason}" if failed else ""),
            hint="tunesmith convert FILE says what a file holds",
        )
    return Lines(tuple(examples), tuple(rows), tuple(failed))


def _example(row: Any, name: str, place: str) -> Row:
    record, _ = record_of(row, name=name)
    given = row.get("id") if isinstance(row, dict) else None
    own = str(given) if isinstance(given, str | int) and not isinstance(given, bool) and str(given).strip() else place
    if not isinstance(record, Document):
        return replace(record, id=own, group=own if record.group == record.id else record.group)
    columns = (
        {str(key): str(value) for key, value in row.items() if isinstance(value, str | int | float) and len(str(value)) <= 100}
        if isinstance(row, dict)
        else {}
    )
    dropped = {"id", "text", "content", "body", "document"}
    group = next((columns[key] for key in ("group", "url", "document_id", "title") if columns.get(key)), own)
    meta = {key: value for key, value in columns.items() if key not in dropped and value.strip()}
    return replace(golden_example(record), id=own, group=group, meta=meta)
