"""Writing rows to a file: JSON lines, or one array where the file's name ends in `.json`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tunesmith.core.files import replace_file, storage_errors
from tunesmith.core.records import to_json

__all__ = ["write_rows"]


def write_rows(rows: Iterable[Any], out: Path, *, what: str) -> None:
    """Replace `out` as a whole. StorageError, which names `what` was being written, where the disk refuses."""
    lines = [to_json(row) for row in rows]
    whole = b"[\n" + b",\n".join(lines) + b"\n]\n" if out.suffix == ".json" else b"".join(line + b"\n" for line in lines)
    with storage_errors(f"writing the {what} rows", out):
        replace_file(out, whole)
