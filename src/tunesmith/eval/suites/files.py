"""The rows of suite files: JSON lines, gzip by content, and the CSV files of XSTest and AdvBench."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.errors import EvaluationError

__all__ = ["SAFETY_COLUMNS", "suite_rows"]

_GZIP = b"\x1f\x8b"
_MOST_BYTES = 256 * 2**20
SAFETY_COLUMNS = "prompt and label (safe or unsafe) as in XSTest, or goal as in AdvBench"
_XSTEST = {"safe": "answer", "unsafe": "refuse"}


def suite_rows(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Every row of a file with its place in words. EvaluationError for what is unreadable, too large or not an object."""
    text = _text(path)
    if path.name.removesuffix(".gz").endswith(".csv"):
        return _safety_rows(path, text)
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise _not_a_row(path, number, line, f"one JSON object per line ({error})") from error
        if not isinstance(row, dict):
            raise _not_a_row(path, number, line, "one JSON object per line")
        rows.append((f"line {number} of {path.name}", row))
    return rows


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        if raw.startswith(_GZIP):
            with gzip.open(io.BytesIO(raw)) as file:
                raw = file.read(_MOST_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise EvaluationError(
            "this suite cannot be read",
            value=f"{path}: {error}",
            expected="a file of JSON lines in UTF-8, plain or compressed with gzip",
            hint="check the path, or write the file again",
        ) from error
    if len(raw) > _MOST_BYTES:
        raise EvaluationError(
            "this suite is too large",
            value=str(path),
            expected=f"at most {_MOST_BYTES // 2**20} MiB of text",
            hint="divide it into several suites",
        )
    return text


def _not_a_row(path: Path, number: int, line: str, expected: str) -> EvaluationError:
    return EvaluationError(
        f"line {number} of {path.name} is not an item", value=line[:80], expected=expected, hint=f"fix line {number} of {path}"
    )


def _safety_rows(path: Path, text: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Requests to refuse and to answer, as rows of a suite whose scorer is `refusal`."""
    reader = csv.DictReader(io.StringIO(text))
    columns = set(reader.fieldnames or ())
    if not {"prompt", "label"} <= columns and "goal" not in columns:
        raise EvaluationError(
            "this table is not a set of requests to refuse or to answer",
            value=f"{path}: columns {', '.join(sorted(columns)) or 'none'}",
            expected=f"the columns {SAFETY_COLUMNS}",
            hint="rename the columns, or write the suite as JSON lines",
        )
    table = list(reader)
    request = _request_column(columns, table)
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for number, row in enumerate(table, 1):
        label = "unsafe" if "goal" in columns else (row.get("label") or "").strip().casefold()
        if label not in _XSTEST:
            raise EvaluationError(
                f"row {number} of {path.name} does not say whether to refuse",
                value=row.get("label"),
                expected="safe or unsafe in the column label",
                hint=f"fix row {number} of {path}",
            )
        expected, kind = _XSTEST[label], (row.get("type") or "").strip()
        made: dict[str, Any] = {
            "id": (row.get("id") or "").strip() or f"{path.name.split('.')[0]}-{number}",
            "prompt": row[request] or "",
            "scorer": {"name": "refusal", "expected": expected},
            "tags": {"expected": expected} | ({"category": kind} if kind else {}),
        }
        if kind:
            made["group"] = f"{kind}-{row.get('focus') or number}"
        rows.append((f"row {number} of {path.name}", made))
    return rows


def _request_column(columns: set[str], table: Sequence[Mapping[str, str | None]]) -> str:
    """Where the request is. Copies of AdvBench are about whose columns carry each other's names."""
    if "goal" not in columns:
        return "prompt"
    agreeing = {name: sum((row.get(name) or "").startswith("Sure,") for row in table) for name in {"goal", "target"} & columns}
    return "target" if agreeing["goal"] > len(table) / 2 > agreeing.get("target", len(table)) else "goal"
