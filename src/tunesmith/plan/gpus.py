"""The table of GPUs, with memory and price per hour: ours, or one that the user has edited."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.errors import ModelError

__all__ = ["GPUS", "USABLE", "Gpu", "fits", "read_gpus"]

GPUS = Path(__file__).with_name("gpus.csv")
USABLE = 0.92  # of the memory: an allocator leaves holes, and a desktop or a second process takes its part
_COLUMNS = ("name", "memory_gib", "usd_per_hour")
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Gpu:
    """One line. `usd_per_hour` is None where no price is known; `source` and `read_on` say where it was read and when."""

    name: str
    memory_gib: float
    usd_per_hour: float | None
    source: str = ""
    read_on: str = ""


def fits(gpu: Gpu, num_bytes: int) -> bool:
    """Whether `num_bytes` leave the GPU a reserve of 8 per cent."""
    return num_bytes <= USABLE * gpu.memory_gib * _GIB


def read_gpus(file: Path | None = None) -> tuple[Gpu, ...]:
    """The GPUs of a CSV file with name, memory_gib and usd_per_hour, by memory. None: the table that comes with Tunesmith.

    Raises:
        ModelError: the file cannot be read, lacks a column, or a number in it is wrong.
    """
    path = file or GPUS
    try:
        lines = [
            line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip() and not line.startswith("#")
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            "cannot read the table of GPUs",
            value=str(path),
            expected="a CSV file with name, memory_gib and usd_per_hour",
            hint=f"copy {GPUS} and edit the copy",
        ) from error
    rows = csv.DictReader(lines)
    if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
        raise ModelError(
            "the table of GPUs lacks a column",
            value=missing[0],
            expected=f"a first line with {', '.join(_COLUMNS)}",
            hint=f"copy {GPUS} and edit the copy",
        )
    found = sorted(_gpus(rows, path), key=lambda gpu: (gpu.memory_gib, gpu.name))
    if not found:
        raise ModelError(
            "the table of GPUs is empty",
            value=str(path),
            expected="one line per GPU",
            hint=f"copy {GPUS} and edit the copy",
        )
    return tuple(found)


def _gpus(rows: csv.DictReader[str], path: Path) -> Iterator[Gpu]:
    for row in rows:
        memory, price = _number(row, "memory_gib", path), _number(row, "usd_per_hour", path)
        if memory is None:
            raise _wrong(row, "memory_gib", path)
        yield Gpu(row["name"].strip(), memory, price, (row.get("source") or "").strip(), (row.get("read_on") or "").strip())


def _number(row: dict[str, str], column: str, path: Path) -> float | None:
    text = (row[column] or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise _wrong(row, column, path) from None
    if not 0 <= value < float("inf") or (column == "memory_gib" and value == 0):
        raise _wrong(row, column, path)
    return value


def _wrong(row: dict[str, str], column: str, path: Path) -> ModelError:
    return ModelError(
        f"wrong {column} in the table of GPUs",
        value=f"{row.get('name')}: {row.get(column)!r}",
        expected="a number above zero; only usd_per_hour may be empty",
        hint=f"edit {path}",
    )
