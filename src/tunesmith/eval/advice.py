"""Advice from measurements: the cheapest alternative that is not worse than the best one by the margin.

Cheapest by what it takes to make and keep, which is the order of the systems. Not worse: the whole interval of the best
one's gain over it is at most the margin. What was not measured is named, and is no reason for anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tunesmith.eval.gain import usual_margin
from tunesmith.eval.how import How
from tunesmith.eval.ladder import common_metric, ladder_kinds
from tunesmith.eval.measure import Measurements
from tunesmith.eval.measured import improvement
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.numbers import signed_range
from tunesmith.eval.results import Evidence
from tunesmith.eval.verdict import Verdict
from tunesmith.systems.registry import system_kinds
from tunesmith.systems.system import SystemKind

__all__ = ["MeasuredAdvice", "Weighed", "advise_by_measurement"]

State = Literal["best", "as good", "worse", "can't tell", "excluded"]
_COMPARE = frozenset({"better", "equal_length"})  # gates about gains, which this comparison makes itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """One alternative against the best: `gain` is what the best one has over it (positive: it is better), with interval."""

    name: str
    advice: str
    mean: float | None
    gain: tuple[float, float, float] | None
    state: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredAdvice:
    """`advice` and `system` are None where nothing can be advised. `sure`: no cheaper alternative was left undecided."""

    advice: str | None
    system: str | None
    metric: str
    margin: float
    sure: bool
    reasons: tuple[str, ...]
    systems: tuple[Weighed, ...]
    not_measured: tuple[str, ...]


def advise_by_measurement(
    evidence: Evidence,
    measurements: Measurements,
    verdict: Verdict,
    *,
    excluded: Mapping[str, str],
    margin: float | None = None,
    min_documents: int = 6,
) -> MeasuredAdvice:
    """`excluded`: what the task rules out, advice → reason. `margin`: in the unit of the metric; None: as the gate `better`."""
    kinds = ladder_kinds(measurements)
    metric = common_metric(measurements, kinds)
    margin = usual_margin(metric) if margin is None else margin
    out = {kind.name: reason for kind in kinds if (reason := _why_not(kind, excluded, verdict))}
    left = [
        kind for kind in kinds if kind.name not in out and measurements.systems[kind.name].summaries[metric].mean is not None
    ]
    best = _best(measurements, left, metric)
    weighed = [_weigh(kind, best, out.get(kind.name, ""), evidence, measurements, metric, margin) for kind in kinds]
    unseen = tuple(
        f"{kind.title} ({_setting(kind)})" for kind in system_kinds() if kind.advice is not None and kind not in kinds
    )
    none = MeasuredAdvice(
        advice=None,
        system=None,
        metric=metric,
        margin=margin,
        sure=False,
        reasons=("Nothing that the task allows was measured.",),
        systems=tuple(weighed),
        not_measured=unseen,
    )
    if best is None:
        return none
    if measurements.num_documents < min_documents:
        few = (
            f"{measurements.num_documents} test documents are too few: an interval that can be relied on needs {min_documents}."
        )
        return replace(none, reasons=(few,))
    chosen = next(one for one in weighed if one.state in ("best", "as good"))
    undecided = [one for one in weighed[: weighed.index(chosen)] if one.state == "can't tell"]
    return replace(
        none,
        advice=chosen.advice,
        system=chosen.name,
        sure=not undecided,
        reasons=tuple(one.reason for one in (chosen, *(one for one in weighed if one is not chosen))),
    )


def _why_not(kind: SystemKind, excluded: Mapping[str, str], verdict: Verdict) -> str:
    """Why a system cannot be advised however good it is: the task rules it out, or the tuned model failed another gate."""
    if kind.advice is not None and kind.advice in excluded:
        return excluded[kind.advice]
    if kind.advice not in ("tune", "tune + retrieve"):
        return ""
    failed = [gate.name for gate in verdict.gates if gate.required and gate.state == "fail"]
    others = [name for name in failed if name not in _COMPARE and not name.startswith("beats_")]
    return f"the tuned model failed the gate {others[0].replace('_', ' ')}" if others else ""


def _best(measurements: Measurements, kinds: Sequence[SystemKind], metric: str) -> SystemKind | None:
    sign = -1.0 if metric_named(metric).higher_is_better is False else 1.0

    def value(kind: SystemKind) -> float:
        return sign * (measurements.systems[kind.name].summaries[metric].mean or 0.0)

    return max(kinds, key=value, default=None)


def _weigh(
    kind: SystemKind,
    best: SystemKind | None,
    out: str,
    evidence: Evidence,
    measurements: Measurements,
    metric: str,
    margin: float,
) -> Weighed:
    system, info = measurements.systems[kind.name], metric_named(metric)
    mean = system.summaries[metric].mean
    gain: tuple[float, float, float] | None = None
    state: State = "can't tell"
    shown = "not measured" if mean is None else f"{mean:.3f}"
    if out:
        state, reason = "excluded", f"{_named(kind)}: out, since {out}."
    elif kind is best:
        state, reason = "best", f"{_named(kind)}: the best measured in {info.label}, {shown}."
    else:
        gain = _gain(kind, best, evidence, measurements, metric)
        state, reason = _compared(kind, best, gain, metric, margin)
    return Weighed(name=kind.name, advice=kind.advice or "", mean=mean, gain=gain, state=state, reason=reason)


def _gain(
    kind: SystemKind, best: SystemKind | None, evidence: Evidence, measurements: Measurements, metric: str
) -> tuple[float, float, float] | None:
    if best is None:
        return None
    a, b = (measurements.systems[one.name].scores[metric] for one in (kind, best))
    groups = [item.group for item in evidence.items]
    how = How(draws=measurements.draws, seed=measurements.seed)
    return improvement(how.difference(a, b, groups, metric=metric_named(metric)), metric)


def _compared(
    kind: SystemKind, best: SystemKind | None, gain: tuple[float, float, float] | None, metric: str, margin: float
) -> tuple[State, str]:
    if gain is None or best is None:
        return "can't tell", f"{_named(kind)}: cannot be compared, as there is no interval."
    figures = f"{_named(best)} gains {signed_range(gain)} {metric_named(metric).label} over it; the margin is {margin:g}."
    if gain[2] <= margin:
        return "as good", f"{_named(kind)}: not worse by the margin. {figures}"
    if gain[1] > 0:
        return "worse", f"{_named(kind)}: worse. {figures}"
    return "can't tell", f"{_named(kind)}: whether it is worse is not clear. {figures} More test documents would show it."


def _named(kind: SystemKind) -> str:
    """Its title as the beginning of a sentence."""
    return kind.title[:1].upper() + kind.title[1:]


def _setting(kind: SystemKind) -> str:
    """What measures a system that was not measured."""
    if kind.role == "baseline":
        return f"eval.baselines: [{kind.name}]"
    if kind.name == "bigger":
        return "bigger.url and bigger.model"
    return f"eval.additions: [{kind.name}]" if kind.role == "addition" else "tunesmith run"
