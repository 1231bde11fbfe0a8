"""Which run to take: the best one, unless a much smaller one is as good for all that was measured.

A run with more than twice the parameters (of the model, or trained) must gain at least 5 % over the smaller one, and the whole
interval of the paired gain must be above zero at a level that allows for all comparisons (Bonferroni). Where the gain was not
measured, the smaller run is kept, unless another run is worth its size against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tunesmith.eval.metrics.registry import metric_named
from tunesmith.ops.runs.pairing import PairedRuns, pair_runs
from tunesmith.ops.runs.row import RunRow

__all__ = ["LEAST_GAIN", "Recommendation", "RunEfficiency", "SizeStep", "recommend"]

LEAST_GAIN = 0.05
_TIMES = 2.0
_ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeStep:
    """A larger run against a smaller one: `worth` is True, False, or None where it was not measured."""

    larger: str
    smaller: str
    worth: bool | None
    why: str
    relative: float | None
    ci: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEfficiency:
    """Quality and cost of a run that was considered. `gain_per_hour`: gain over the base per hour of training."""

    id: str
    score: float | None
    gain: float | None
    trained: int | None
    parameters: int | None
    seconds: float | None
    gain_per_hour: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The run to take (`id`, empty if none can be recommended), why, and every comparison behind it."""

    id: str
    why: str
    metric: str
    steps: tuple[SizeStep, ...]
    considered: tuple[RunEfficiency, ...]
    left_out: tuple[str, ...]
    level: float

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith runs recommend --json` prints."""
        return asdict(self)


def recommend(rows: Sequence[RunRow]) -> Recommendation:
    """The recommended run of those on the dataset of the newest evaluated one, judged SHIP in the same metric."""
    judged = [row for row in rows if row.state == "done" and row.score is not None and row.verdict is not None]
    newest = max(judged, key=lambda row: row.created or "", default=None)
    comparable = [row for row in judged if newest and (row.dataset, row.metric) == (newest.dataset, newest.metric)]
    candidates = [row for row in comparable if row.verdict == "SHIP"]
    left_out = [
        f"{len(rows) - len(judged)} without a score" if len(rows) > len(judged) else "",
        f"{len(judged) - len(comparable)} on other data or in another metric" if len(judged) > len(comparable) else "",
        f"{len(comparable) - len(candidates)} not judged SHIP" if len(comparable) > len(candidates) else "",
    ]
    metric = (newest.metric or "") if newest else ""
    level = 1 - _ALPHA / max(1, len(candidates) - 1)
    steps: list[SizeStep] = []
    pick = _best(candidates, metric)
    unbeaten = candidates
    while pick is not None:
        found = {row.id: _step(pick, row, metric, level) for row in candidates if _is_larger(pick, row)}
        steps += found.values()
        unbeaten = [row for row in unbeaten if row.id not in found or not found[row.id].worth]
        following = _best([row for row in unbeaten if row.id in found], metric)
        if following is None:
            break
        pick = following
    return Recommendation(
        id=pick.id if pick else "",
        why=_why(pick, steps, len(candidates), metric),
        metric=metric,
        steps=tuple(steps),
        considered=tuple(_efficiency(row) for row in sorted(candidates, key=lambda row: (row.trained or 0, row.id))),
        left_out=tuple(text for text in left_out if text),
        level=level,
    )


def _best(rows: Sequence[RunRow], metric: str) -> RunRow | None:
    """The best mean score; of equal ones the smaller run."""
    sign = -1.0 if metric and metric_named(metric).higher_is_better is False else 1.0
    return max(rows, key=lambda row: (sign * (row.score or 0.0), -(row.trained or 0)), default=None)


def _is_larger(a: RunRow, b: RunRow) -> bool:
    """Whether `a` has more than twice the parameters of `b`, of the model or trained; unknown sizes count as equal."""
    pairs = ((a.parameters, b.parameters), (a.trained, b.trained))
    return any(x is not None and y is not None and x > _TIMES * y for x, y in pairs)


def _step(larger: RunRow, smaller: RunRow, metric: str, level: float) -> SizeStep:
    found: PairedRuns = pair_runs(smaller, larger, level=level)
    gain = found.gains.get(metric)
    names = {"larger": larger.id, "smaller": smaller.id}
    if gain is None or gain.relative is None or gain.ci is None:
        why = f"not measured: {found.reason or (gain.reason if gain else 'no scores in this metric')}"
        return SizeStep(**names, worth=None, why=why, relative=gain.relative if gain else None, ci=None)
    significant, enough = gain.ci[0] > 0, gain.relative >= LEAST_GAIN
    why = f"gains {100 * gain.relative:.1f} %"
    why += f", {'' if significant else 'not '}significant, {'at least' if enough else 'less than'} {100 * LEAST_GAIN:.0f} %"
    return SizeStep(**names, worth=significant and enough, why=why, relative=gain.relative, ci=gain.ci)


def _why(pick: RunRow | None, steps: Sequence[SizeStep], count: int, metric: str) -> str:
    if pick is None:
        return "no run was judged SHIP, so none can be recommended"
    name = metric.replace("_", " ")
    kept = [step for step in steps if step.smaller == pick.id and not step.worth]
    if kept:
        unmeasured = all(step.worth is None for step in kept)
        return (
            f"the best run with more than twice its parameters {'could not be compared' if unmeasured else 'is not worth them'}"
        )
    if count == 1:
        return "the only run that was judged SHIP"
    beaten = sum(step.larger == pick.id and step.worth is True for step in steps)
    more = f", and worth its size against {beaten} much smaller" if beaten else "; no other is much smaller"
    return f"the best of {count} runs in {name}{more}"


def _efficiency(row: RunRow) -> RunEfficiency:
    known = row.gain is not None and row.seconds
    return RunEfficiency(
        id=row.id,
        score=row.score,
        gain=row.gain,
        trained=row.trained,
        parameters=row.parameters,
        seconds=row.seconds,
        gain_per_hour=row.gain / row.seconds * 3600 if known and row.gain is not None and row.seconds else None,
    )
