"""The rows of a file of data with their places, whatever the format; a row that cannot be read says why."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.errors import DatasetError
from tunesmith.data.ingest.row_file import raw_rows
from tunesmith.ship.hub.choose import ROWS

__all__ = ["rows_of"]

Row = tuple[str, Any, str]  # place, row, what is wrong with it


def rows_of(name: str, path: Path) -> Iterator[Row] | None:
    """The rows of a file; None if its name is not that of rows. JSON Lines and Parquet are read row by row, so may be large.

    DatasetError for Parquet without pyarrow, or that cannot be opened; SourceError for a table that cannot be read.
    """
    if not ROWS.search(name):
        return None
    lower = name.lower()
    if lower.endswith(".parquet"):
        return _of_parquet(path)
    if lower.endswith((".jsonl", ".ndjson")):
        return _of_lines(path)
    return iter(raw_rows(path))


def _of_lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield f"line {number}", line.decode("utf-8", "replace"), f"not JSON ({error})"
                continue
            yield f"line {number}", row, "" if isinstance(row, dict) else "not an object"


def _of_parquet(path: Path) -> Iterator[Row]:
    if importlib.util.find_spec("pyarrow") is None:
        raise DatasetError(
            "this file cannot be searched without pyarrow",
            value=str(path),
            expected="the extra `tables`",
            hint="pip install 'tunesmith[tables]'",
        )
    import pyarrow
    from pyarrow import parquet

    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=256):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row, ""
    except (pyarrow.ArrowException, OSError) as error:
        raise DatasetError(
            "this Parquet file cannot be read",
            value=str(path),
            expected=f"a whole file ({str(error).splitlines()[0][:160]})",
            hint="write it again",
        ) from error
