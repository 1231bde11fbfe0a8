"""CSV and TSV: the rows below the head, read as rows of JSON lines are."""

from __future__ import annotations

from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.ingest.rows import read_objects
from tunesmith.data.rows.table import table_rows

__all__ = ["READER", "read_table"]


def read_table(data: bytes, *, name: str) -> Reading:
    """Examples and documents of a table with a head; columns are named as the fields of rows are, in any case.

    The delimiter is found from the head. Rows with another number of cells than the head become failures that name the row.
    """
    return read_objects(table_rows(data, name=name), name=name)


READER = Reader(kind="table", read=read_table, suffixes=frozenset([".csv", ".tsv", ".tab"]))
