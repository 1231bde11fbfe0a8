"""Parquet files to rows, some at a time, through pyarrow (the extra `tables`); a row is read as one of JSON lines is."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.rows import read_in_pieces
from tunesmith.data.text.decode import PassingError, UnreadableError

__all__ = ["is_parquet", "needs_pyarrow", "read_parquet"]

_BATCH = 256  # rows held at once
_MAX_ROWS = 20_000_000
_MAX_BATCH_BYTES = 256 * 1024 * 1024
_MAX_CELL_BYTES = 2_000_000


def is_parquet(data: bytes) -> bool:
    """Whether the bytes begin as a Parquet file."""
    return data[:4] == b"PAR1"


def needs_pyarrow() -> str:
    """Why Parquet files cannot be read here; empty if they can."""
    if importlib.util.find_spec("pyarrow") is None:
        return "Parquet files need pyarrow; type: pip install 'tunesmith[tables]'"
    return ""


def read_parquet(source: Path | bytes, *, name: str) -> Iterator[Reading]:
    """Examples and documents of a Parquet file, in pieces; columns of bytes (images, sounds) are left out.

    UnreadableError if the file is broken or encrypted, has more than 20 million rows, no column with words, a cell of more than
    2 MB, or if no row can be used.
    """
    if reason := needs_pyarrow():
        raise PassingError(reason)
    return read_in_pieces(_rows(source), name=name)


def _rows(source: Path | bytes) -> Iterator[tuple[str, Any, str]]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(source) if isinstance(source, bytes) else source)
        if file.metadata.num_rows > _MAX_ROWS:
            raise UnreadableError("it has more than 20 million rows")
        fields = [field for field in file.schema_arrow if not _holds_bytes(field.type)]
        if not fields:
            raise UnreadableError("it has no column with words")
        # Words are read as dictionaries: a cell that stands in a million rows is in memory once, and its size is seen first.
        words = [field.name for field in fields if pyarrow.types.is_string(field.type)]
        file = parquet.ParquetFile(
            pyarrow.BufferReader(source) if isinstance(source, bytes) else source, read_dictionary=words, pre_buffer=False
        )
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH, columns=[field.name for field in fields], use_threads=False):
            _check(batch)
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", {key: _plain(value) for key, value in row.items() if value is not None}, ""
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(f"the Parquet file cannot be read ({str(error).splitlines()[0][:120]})") from error


def _holds_bytes(kind: Any) -> bool:
    from pyarrow import types

    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    return any(_holds_bytes(kind.field(number).type) for number in range(kind.num_fields))


def _check(batch: Any) -> None:
    from pyarrow import compute, types

    if batch.nbytes > _MAX_BATCH_BYTES:
        raise UnreadableError(f"{_BATCH} of its rows are larger than 256 MB")
    for column in batch.columns:
        if types.is_dictionary(column.type) and len(column.dictionary):
            longest = compute.max(compute.binary_length(column.dictionary)).as_py() or 0
            if longest > _MAX_CELL_BYTES:
                raise UnreadableError("it has a cell of more than 2 MB")


def _plain(value: Any) -> Any:
    """Values as JSON has them: days and moments as text."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
