"""Two evaluated runs on the same test items: paired differences with intervals, clustered by document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.artifacts import Store
from tunesmith.eval.measured import METRICS, improvement
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.stats import LEVEL, Difference, paired
from tunesmith.ops.runs.row import RunRow

__all__ = ["PairedRuns", "RunGain", "pair_runs"]

_SHOWN = ("bits_per_byte", "word_overlap", "rouge_l", "exact_match")
_DRAWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGain:
    """What the second run is better than the first in a metric: positive is better. `ci` and `p` are None if not measured.

    `a` and `b` are means over the paired items, `relative` the gain over |a|.
    """

    metric: str
    a: float | None
    b: float | None
    gain: float | None
    ci: tuple[float, float] | None
    relative: float | None
    p: float | None
    better: int
    worse: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRuns:
    """The gains on `items` common items of `documents` documents, at `level`; without any, `reason` says why."""

    items: int = 0
    documents: int = 0
    left_out: int = 0
    level: float = LEVEL
    gains: Mapping[str, RunGain] = field(default_factory=dict)
    reason: str = ""
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    items: Mapping[str, tuple[str, str]]  # by id: the document that it counts with, and the digest of question and reference
    scores: Mapping[str, Mapping[str, float | None]]  # by metric and item
    use: Any


def pair_runs(a: RunRow, b: RunRow, *, level: float = LEVEL, draws: int = _DRAWS) -> PairedRuns:
    """The tuned model of `b` against that of `a`, on the items that both evaluations have with the same text.

    The files of both evaluations are verified first. Items with the same id and another text are left out and counted.
    """
    found = []
    for row in (a, b):
        opened = _open(row)
        if isinstance(opened, str):
            return PairedRuns(level=level, reason=f"{row.id[:8]}: {opened}")
        found.append(opened)
    first, second = found
    common = [id for id, item in first.items.items() if second.items.get(id, ("", ""))[1] == item[1]]
    left_out = len(first.items.keys() | second.items.keys()) - len(common)
    if not common:
        return PairedRuns(
            left_out=left_out, level=level, reason="no test item is the same in both: other data, or another split"
        )
    if any(first.items[id][0] != second.items[id][0] for id in common):
        return PairedRuns(left_out=left_out, level=level, reason="the test items are grouped into other documents")
    groups = [first.items[id][0] for id in common]
    gains = {}
    shown = [*(name for name in first.scores if name not in METRICS), *_SHOWN]  # a primary metric of its own comes first
    for metric in (name for name in shown if name in first.scores and name in second.scores):
        values = [[side.scores[metric].get(id) for id in common] for side in found]
        better_high = metric_named(metric).higher_is_better is not False
        difference = paired(values[0], values[1], groups, draws=draws, higher_is_better=better_high, level=level)
        gains[metric] = _gain(metric, difference)
    other_use = first.use != second.use
    return PairedRuns(
        items=len(common),
        documents=len(set(groups)),
        left_out=left_out,
        level=level,
        gains=gains,
        note="the answers were sampled with other settings, so metrics of answers compare these as well" if other_use else "",
    )


def _gain(metric: str, d: Difference) -> RunGain:
    known = improvement(d, metric)
    sign = -1.0 if metric_named(metric).higher_is_better is False else 1.0
    return RunGain(
        metric=metric,
        a=d.mean_a,
        b=d.mean_b,
        gain=None if d.mean is None else sign * d.mean,
        ci=(known[1], known[2]) if known else None,
        relative=None if d.relative is None else sign * d.relative,
        p=d.p,
        better=d.better,
        worse=d.worse,
        reason=d.no_interval or "",
    )


def _open(row: RunRow) -> _Evaluation | str:
    """Items and scores of the tuned model of a run, or why there are none."""
    if row.evaluation is None:
        return "not evaluated"
    artifact = Store(Path(row.project) / ".tunesmith").find("eval", row.evaluation)
    if artifact is None:
        return "its evaluation scores preferences, or is damaged"
    evidence = orjson.loads((artifact.path / "evidence.json").read_bytes())
    items = {item["id"]: (item["group"], str((orjson.dumps(item["prompt"]), item["reference"]))) for item in evidence["items"]}
    scores: dict[str, dict[str, float | None]] = {}
    for line in (artifact.path / "scores-tuned.jsonl").read_bytes().splitlines():
        one = orjson.loads(line)
        scores.setdefault(one["metric"], {})[one["item_id"]] = one["value"]
    return _Evaluation(items, scores, evidence.get("use"))
