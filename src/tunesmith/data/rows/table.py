"""CSV and TSV to rows: each line below the head becomes an object, and is read as a row of JSON lines would be."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from tunesmith.data.text.decode import UnreadableError, decode

__all__ = ["table_rows"]

_MAX_CELL = 2_000_000
_SNIFFED = 20_000
_DELIMITERS = ",;\t|"


def table_rows(data: bytes, *, name: str) -> Iterator[tuple[str, Any, str]]:
    """(place, row, problem) of each row below the head, as an object. UnreadableError if there is none, or a column twice."""
    text = decode(data).lstrip("\ufeff")
    csv.field_size_limit(_MAX_CELL)
    lines, dialect = list(io.StringIO(text, newline="")), _dialect(text, name)
    reader = csv.reader(lines, dialect)
    head: list[str] | None = None
    number = 0
    while True:
        number += 1
        begin = reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield f"row {number}", None, f"it is not a row of a table ({error})"
            continue
        if reader.line_num >= len(lines) and _is_open(lines[begin:], dialect):
            yield f"row {number}", None, "a quote is opened in it and never closed, so that all lines below belong to it"
            break
        if not any(cell.strip() for cell in cells):
            continue
        if head is None:
            head = [cell.strip().lower() for cell in cells]
            if len(set(head)) < len(head):
                raise UnreadableError("two columns of its head have the same name")
        elif len(cells) != len(head):
            yield f"row {number}", None, f"{len(cells)} cells where the head has {len(head)}"
        else:
            yield f"row {number}", dict(zip(head, cells, strict=True)), ""
    if head is None:
        raise UnreadableError("it is empty")


def _is_open(lines: Sequence[str], dialect: type[csv.Dialect] | str) -> bool:
    """Whether a quote is opened in these lines and never closed, which the reader takes as if it were closed at the end."""
    try:
        for _ in csv.reader(lines, dialect, strict=True):
            pass
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def _dialect(text: str, name: str) -> type[csv.Dialect] | str:
    """The delimiter that the head shows most often; where it shows none, commas. A `.tsv` has tabs."""
    if name.lower().endswith((".tsv", ".tab")):
        return "excel-tab"
    head = text[:_SNIFFED].split("\n", 1)[0]
    found = max(_DELIMITERS, key=head.count)

    class Found(csv.excel):
        delimiter = found if found in head else ","

    return Found
