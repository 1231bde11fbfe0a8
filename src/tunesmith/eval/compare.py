"""Two prediction files side by side: the scriptable contract behind `tunesmith compare A.jsonl B.jsonl --json`.

A prediction file has one JSON object a line: `id`, `prompt`, `reference`, `prediction`, and optionally `group` (the
document, else each row is its own) and `finish_reason` (`length` means cut at the token limit). Lines end at `\\n` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Interval
from tunesmith.eval.metrics.text import TEXT_METRICS, TextMetric, length_matched, looks_cut
from tunesmith.eval.stats import Difference, Summary, paired, summarise

__all__ = ["Prediction", "compare_files", "read_predictions"]

_REQUIRED = ("id", "prompt", "reference", "prediction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One row of a prediction file. `group` and `finish_reason` are None where the file has none."""

    id: str
    reference: str
    prediction: str
    group: str | None
    finish_reason: str | None
    line: int

    @property
    def cut(self) -> bool:
        """Cut at the token limit: by `finish_reason`, or without one by the missing full stop at the end."""
        return looks_cut(self.prediction) if self.finish_reason is None else self.finish_reason == "length"


def compare_files(a: Path, b: Path, *, metric: str = "word_overlap", draws: int = 10_000, seed: int = 7) -> dict[str, Any]:
    """Compare system B with system A on the same items; the difference is b − a, paired by id and clustered by group.

    Returns the object that `tunesmith compare --json` prints: metric, n, a, b, difference, relative, cut, length_matched,
    and beside the contract num_groups, unscored, better, worse, smallest_p, higher_is_better, method, warnings. An interval
    is `[low, high]` at 95 %, or null below two groups. Raises EvaluationError for files that cannot be compared.
    """
    scorer = TEXT_METRICS.get(metric)
    if scorer is None:
        raise EvaluationError(
            "no such metric for prediction files",
            value=metric,
            expected=", ".join(sorted(TEXT_METRICS)),
            hint=f"tunesmith compare {a} {b} --metric word_overlap",
        )
    rows_a, rows_b = read_predictions(a), read_predictions(b)
    pairs = _matched(a, rows_a, b, rows_b)
    groups = [left.group or right.group or left.id for left, right in pairs]
    trimmed = [length_matched(left.prediction, right.prediction, left.reference) for left, right in pairs]
    references = [left.reference for left, _ in pairs]
    scores_a = _scores(scorer, [left.prediction for left, _ in pairs], references)
    scores_b = _scores(scorer, [right.prediction for _, right in pairs], references)
    rising = scorer.higher_is_better is not False
    difference = paired(scores_a, scores_b, groups, draws=draws, seed=seed, higher_is_better=rising)
    matched = paired(
        _scores(scorer, [left for left, _ in trimmed], references),
        _scores(scorer, [right for _, right in trimmed], references),
        groups,
        draws=draws,
        seed=seed,
        higher_is_better=rising,
    )
    return {
        "metric": metric,
        "n": difference.n,
        "a": _side(summarise(scores_a, groups, draws=draws, seed=seed, bounds=scorer.bounds)),
        "b": _side(summarise(scores_b, groups, draws=draws, seed=seed, bounds=scorer.bounds)),
        "difference": _difference(difference),
        "relative": difference.relative,
        "cut": {"a": sum(x.cut for x, _ in pairs) / len(pairs), "b": sum(x.cut for _, x in pairs) / len(pairs)},
        "length_matched": {"difference": _difference(matched)},
        "num_groups": difference.num_groups,
        "unscored": difference.unscored,
        "better": difference.better,
        "worse": difference.worse,
        "smallest_p": difference.smallest_p,
        "higher_is_better": scorer.higher_is_better,
        "method": difference.ci.method if difference.ci else "no interval below two groups",
        "warnings": _warnings(pairs, difference),
    }


def read_predictions(path: Path) -> dict[str, Prediction]:
    """The rows of a prediction file by id, in order. EvaluationError names file and line of the first row that is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EvaluationError(
            "cannot read the prediction file",
            value=str(path),
            expected=f"a readable JSONL file ({error.strerror})",
            hint="check the path: tunesmith compare A.jsonl B.jsonl",
        ) from error
    rows: dict[str, Prediction] = {}
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        row = _row(path, number, line)
        if row.id in rows:
            raise _wrong(path, number, f"this id is already on line {rows[row.id].line}", row.id, "each id once")
        rows[row.id] = row
    if not rows:
        raise EvaluationError(
            "the prediction file is empty",
            value=str(path),
            expected=f"one JSON object a line with {', '.join(_REQUIRED)}",
            hint="write the predictions first, then compare",
        )
    return rows


def _wrong(path: Path, line: int, what: str, value: object, expected: str) -> EvaluationError:
    return EvaluationError(f"{path}:{line}: {what}", value=value, expected=expected, hint=f"fix line {line} of {path}")


def _row(path: Path, number: int, line: bytes) -> Prediction:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        shown = line[:60].decode(errors="replace")
        raise _wrong(path, number, "this line is not JSON", shown, f"one JSON object a line ({error.msg})") from error
    if not isinstance(row, dict):
        raise _wrong(path, number, "this line is not a JSON object", row, f"an object with {', '.join(_REQUIRED)}")
    if missing := [name for name in _REQUIRED if row.get(name) is None]:
        raise _wrong(path, number, f"missing {', '.join(missing)}", sorted(row), f"an object with {', '.join(_REQUIRED)}")
    if isinstance(row["id"], bool) or not isinstance(row["id"], str | int):
        raise _wrong(path, number, "the id is neither text nor a whole number", row["id"], "a string or an integer")
    for name in ("reference", "prediction", "finish_reason"):
        if row.get(name) is not None and not isinstance(row[name], str):
            raise _wrong(path, number, f"{name} is not text", row[name], "a string")
    group = row.get("group")
    if isinstance(group, dict | list):
        raise _wrong(path, number, "group is not a name", group, "a string or a number")
    return Prediction(
        id=str(row["id"]),
        reference=row["reference"],
        prediction=row["prediction"],
        group=None if group is None else str(group),
        finish_reason=row.get("finish_reason"),
        line=number,
    )


def _matched(
    a: Path, rows_a: dict[str, Prediction], b: Path, rows_b: dict[str, Prediction]
) -> list[tuple[Prediction, Prediction]]:
    """The pairs in the order of A, once both files are known to hold the same items."""
    for path, other, only in ((a, b, rows_a.keys() - rows_b.keys()), (b, a, rows_b.keys() - rows_a.keys())):
        if only:
            raise EvaluationError(
                f"{len(only)} items of {path} are not in {other}",
                value=sorted(only)[:5],
                expected=f"the same ids in both files ({len(rows_a)} in {a.name}, {len(rows_b)} in {b.name})",
                hint="answer the same items with both systems, then compare",
            )
    pairs = [(row, rows_b[key]) for key, row in rows_a.items()]
    for left, right in pairs:
        for name, x, y in (("reference", left.reference, right.reference), ("group", left.group, right.group)):
            if x != y and (name == "reference" or None not in (x, y)):
                where = f"the {name} of {left.id!r} differs from the one in {a}:{left.line}"
                raise _wrong(b, right.line, where, (y or "")[:60], f"the same {name} in both files: {(x or '')[:60]!r}")
    return pairs


def _scores(scorer: TextMetric, predictions: Sequence[str], references: Sequence[str]) -> list[float | None]:
    return [scorer.score(text, reference) for text, reference in zip(predictions, references, strict=True)]


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _side(summary: Summary) -> dict[str, Any]:
    return {
        "mean": summary.mean,
        "median": summary.median,
        "std": summary.std,
        "min": summary.min,
        "max": summary.max,
        "ci": _ends(summary.ci),
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {"mean": difference.mean, "ci": _ends(difference.ci), "p": difference.p}


def _warnings(pairs: Sequence[tuple[Prediction, Prediction]], difference: Difference) -> list[str]:
    found = []
    if all(left.prediction == right.prediction for left, right in pairs):
        found.append("both files hold the same answers: this compares a system with itself")
    if difference.unscored:
        found.append(f"{difference.unscored} items could not be scored and are in no figure")
    if difference.smallest_p is not None and difference.smallest_p > 0.05:
        least = f"the smallest possible p is {difference.smallest_p:.3g}"
        found.append(f"{difference.num_groups} groups are too few for p ≤ 0.05: {least}")
    if any(left.finish_reason is None or right.finish_reason is None for left, right in pairs):
        found.append("cut is guessed from the last character where finish_reason is missing")
    return found
