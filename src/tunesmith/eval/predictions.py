"""Prediction files: what each system answered to the same items, one JSON object per line, plain or gzip.

`id` and `prediction` are always there; `prompt`, `reference` (or `references`, a list of which any will do), `group`,
`finish_reason` (`length` means cut at the token limit), `schema`, `tests`, `labels` and `tolerance` where they are known. Lines
end at `\\n` alone. `group` names the document that an item was made from; without it each row is its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.errors import EvaluationError
from tunesmith.data.text.decode import UnreadableError, gunzip, is_gzip
from tunesmith.eval.metrics.metric import Expected
from tunesmith.eval.metrics.text import looks_cut

__all__ = ["Prediction", "aligned", "read_predictions"]

_REQUIRED = ("id", "prompt", "reference", "prediction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One row of a prediction file. `group` and `finish_reason` are None where the file has none."""

    id: str
    prompt: Any
    expected: Expected
    prediction: str
    group: str | None
    finish_reason: str | None
    line: int

    @property
    def reference(self) -> str:
        """The first reference; empty if there is none."""
        return self.expected.references[0] if self.expected.references else ""

    @property
    def question(self) -> str:
        """What was asked, as text: the prompt, or the last turn of a list of messages."""
        if isinstance(self.prompt, list) and self.prompt and isinstance(self.prompt[-1], dict):
            return str(self.prompt[-1].get("content", ""))
        return self.prompt if isinstance(self.prompt, str) else orjson.dumps(self.prompt).decode()

    @property
    def cut(self) -> bool:
        """Cut at the token limit: by `finish_reason`, or without one by the missing full stop at the end."""
        return looks_cut(self.prediction) if self.finish_reason is None else self.finish_reason == "length"


def read_predictions(path: Path, *, group: str = "group", references: bool = True) -> dict[str, Prediction]:
    """The rows of a prediction file by id, in order. `group`: the field that names the document.

    `references`: every row must have one. EvaluationError names file and line of the first row that cannot be used, and counts
    the rows without a group if others have one.
    """
    rows: dict[str, Prediction] = {}
    for number, line in enumerate(_content(path).removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        row = _row(path, number, line, group, references)
        if row.id in rows:
            raise _wrong(path, number, f"this id is already on line {rows[row.id].line}", row.id, "each id once")
        rows[row.id] = row
    if not rows:
        raise EvaluationError(
            "the prediction file is empty",
            value=str(path),
            expected=f"one JSON object per line with {', '.join(_REQUIRED)}",
            hint="write the predictions first, then compare",
        )
    _all_or_none_grouped(path, rows, group)
    return rows


def aligned(files: Sequence[Path], read: Sequence[dict[str, Prediction]]) -> list[list[Prediction]]:
    """The rows of each file in the order of the first, once all are known to hold the same items.

    EvaluationError for other ids, and for a prompt, reference or group that differs from the first file's.
    """
    first, rows_a = files[0], read[0]
    for path, rows in zip(files[1:], read[1:], strict=True):
        for one, other, only in ((first, path, rows_a.keys() - rows.keys()), (path, first, rows.keys() - rows_a.keys())):
            if only:
                raise EvaluationError(
                    f"{len(only)} items of {one} are not in {other}",
                    value=sorted(only)[:5],
                    expected=f"the same ids in both files ({len(rows_a)} in {first.name}, {len(rows)} in {path.name})",
                    hint="answer the same items with all systems, then compare",
                )
        for key, left in rows_a.items():
            _same_item(first, left, path, rows[key])
    return [[rows[key] for key in rows_a] for rows in read]


def _same_item(first: Path, left: Prediction, path: Path, right: Prediction) -> None:
    compared = (
        ("prompt", left.prompt, right.prompt),
        ("reference", left.expected.references, right.expected.references),
        ("group", left.group, right.group),
    )
    for name, a, b in compared:
        if a != b and not (name == "group" and None in (a, b)):
            what = f"the {name} of {left.id!r} differs from the one in {first}:{left.line}"
            raise _wrong(path, right.line, what, _shown(b), f"the same {name} in both files: {_shown(a)!r}")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        value = value[0] if len(value) == 1 else list(value)
    return (value if isinstance(value, str) else orjson.dumps(value).decode())[:60]


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gunzip(data) if is_gzip(data) else data
    except (OSError, UnreadableError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise EvaluationError(
            "cannot read the prediction file",
            value=str(path),
            expected=f"a readable file of JSON lines, plain or gzip ({reason})",
            hint="check the path: tunesmith compare A.jsonl B.jsonl",
        ) from error


def _wrong(path: Path, line: int, what: str, value: object, expected: str) -> EvaluationError:
    return EvaluationError(f"{path}:{line}: {what}", value=value, expected=expected, hint=f"fix line {line} of {path}")


def _row(path: Path, number: int, line: bytes, group: str, references: bool) -> Prediction:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        shown = line[:60].decode(errors="replace")
        raise _wrong(path, number, "this line is not JSON", shown, f"one JSON object per line ({error.msg})") from error
    if not isinstance(row, dict):
        raise _wrong(path, number, "this line is not a JSON object", row, f"an object with {', '.join(_REQUIRED)}")
    given = _references(path, number, row)
    missing = [name for name in _REQUIRED if name != "reference" and row.get(name) is None]
    if references and not given:
        missing.append("reference")
    if missing:
        wanted = ", ".join(name for name in _REQUIRED if references or name != "reference")
        raise _wrong(path, number, f"missing {', '.join(missing)}", sorted(row), f"an object with {wanted}")
    if isinstance(row["id"], bool) or not isinstance(row["id"], str | int):
        raise _wrong(path, number, "the id is neither text nor a whole number", row["id"], "a string or an integer")
    for name in ("prediction", "finish_reason"):
        if row.get(name) is not None and not isinstance(row[name], str):
            raise _wrong(path, number, f"{name} is not text", row[name], "a string")
    named = row.get(group)
    if isinstance(named, dict | list):
        raise _wrong(path, number, f"{group} is not a name", named, "a string or a number")
    return Prediction(
        id=str(row["id"]),
        prompt=row["prompt"],
        expected=_expected(path, number, row, given),
        prediction=row["prediction"],
        group=None if named is None else str(named),
        finish_reason=row.get("finish_reason"),
        line=number,
    )


def _references(path: Path, number: int, row: Mapping[str, Any]) -> tuple[str, ...]:
    value = row.get("references") if row.get("reference") is None else [row["reference"]]
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        name = "references" if row.get("reference") is None else "reference"
        raise _wrong(path, number, f"{name} is not text", value, "a string (`references`: a list of strings)")
    return tuple(value)


def _expected(path: Path, number: int, row: Mapping[str, Any], references: tuple[str, ...]) -> Expected:
    kinds: Mapping[str, tuple[type | tuple[type, ...], str]] = {
        "labels": (list, "a list of strings"),
        "schema": (dict, "a JSON schema"),
        "tests": (str, "Python code"),
        "tolerance": ((int, float), "a share such as 0.01"),
    }
    for name, (kind, expected) in kinds.items():
        if row.get(name) is not None and (not isinstance(row[name], kind) or isinstance(row[name], bool)):
            raise _wrong(path, number, f"{name} cannot be used", row[name], expected)
    return Expected(
        references=references,
        question=row["prompt"] if isinstance(row["prompt"], str) else orjson.dumps(row["prompt"]).decode(),
        labels=tuple(map(str, row.get("labels") or ())),
        schema=row.get("schema"),
        tests=row.get("tests"),
        tolerance=row.get("tolerance"),
    )


def _all_or_none_grouped(path: Path, rows: Mapping[str, Prediction], group: str) -> None:
    without = [row for row in rows.values() if row.group is None]
    if without and (len(without) < len(rows) or group != "group"):
        raise EvaluationError(
            f"{path}:{without[0].line}: {len(without)} of {len(rows)} rows have no {group}",
            value=without[0].id,
            expected=f"{group} in every row: the document that the item was made from",
            hint=f"add {group} to every row" + ("" if group != "group" else ", or remove it from all"),
        )
