"""The alternatives by what they take, cheapest first: how good each is, and what an answer costs in tokens and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tunesmith.core.page import Raw, section, table, text
from tunesmith.eval.measure import Measurements, SystemMeasures
from tunesmith.eval.metrics.registry import metric_named
from tunesmith.eval.report_cells import summary_cell, tip
from tunesmith.eval.results import Cost, Evidence
from tunesmith.systems.registry import system_kinds
from tunesmith.systems.system import SystemKind

__all__ = ["ANSWER_METRIC", "Rung", "common_metric", "ladder_kinds", "ladder_rungs", "ladder_section", "ladder_values"]

_UNKNOWN = Cost(num_answers=0, prompt_tokens=None, generated_tokens=0, seconds=0.0, at_once=0)
ANSWER_METRIC = "rouge_l"  # of answers alone, so that a system without log-probabilities has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One alternative. `mean` and `interval` (95 %) are of `metric`; the rest are means an answer. None: not measured.

    `seconds`: of an answer made with others, up to `at_once` of them; answers made alone take longer.
    """

    name: str
    title: str
    metric: str
    mean: float | None
    interval: tuple[float, float] | None
    prompt_tokens: float | None
    generated_tokens: float | None
    seconds: float | None
    at_once: int | None


def ladder_kinds(measurements: Measurements) -> list[SystemKind]:
    """The alternatives that were measured, cheapest first."""
    return [kind for kind in system_kinds() if kind.advice is not None and kind.name in measurements.systems]


def common_metric(measurements: Measurements, kinds: Sequence[SystemKind]) -> str:
    """The primary metric if all of them have it, else ROUGE-L: a server gives no log-probabilities of a reference."""
    measured = (measurements.systems[kind.name].summaries[measurements.primary].n for kind in kinds)
    return measurements.primary if all(measured) else ANSWER_METRIC


def ladder_rungs(evidence: Evidence, measurements: Measurements) -> list[Rung]:
    """Every alternative that was measured, in the metric that all of them have."""
    kinds = ladder_kinds(measurements)
    metric = common_metric(measurements, kinds)
    return [_rung(kind, measurements.systems[kind.name], metric, evidence) for kind in kinds]


def _rung(kind: SystemKind, system: SystemMeasures, metric: str, evidence: Evidence) -> Rung:
    run, summary = evidence.system(kind.name), system.summaries[metric]
    cost = run.cost if run is not None and run.cost is not None else _UNKNOWN
    return Rung(
        name=kind.name,
        title=kind.title,
        metric=metric,
        mean=summary.mean,
        interval=None if summary.ci is None else (summary.ci.low, summary.ci.high),
        prompt_tokens=cost.per_answer("prompt_tokens"),
        generated_tokens=cost.per_answer("generated_tokens"),
        seconds=cost.per_answer("seconds"),
        at_once=cost.at_once or None,
    )


def ladder_values(evidence: Evidence, measurements: Measurements) -> list[dict[str, Any]]:
    """The rungs as plain values."""
    return [asdict(rung) for rung in ladder_rungs(evidence, measurements)]


def ladder_section(evidence: Evidence, measurements: Measurements) -> Raw:
    """The table for the report."""
    rungs = ladder_rungs(evidence, measurements)
    rows = [
        [
            rung.title,
            summary_cell(measurements.systems[rung.name].summaries[rung.metric], rung.metric),
            _number(rung.prompt_tokens, 0),
            _number(rung.generated_tokens, 0),
            _seconds(rung),
        ]
        for rung in rungs
    ]
    metric = rungs[0].metric if rungs else measurements.primary
    note = (
        "Cheapest first, by what it takes to make and keep each. Tokens are means of an answer, each system's in its own"
        " tokenizer. Seconds are wall time on the machine of this evaluation: of answers made together, their batch's time"
        " divided evenly, so systems of one batch have the same; one answer alone takes longer."
    )
    if metric != measurements.primary:
        label = metric_named(measurements.primary).label
        note += f" Compared by {metric_named(metric).label}, since not every system has {label}."
    head = ["system", metric_named(metric).label, "tokens of a prompt", "tokens of an answer", "seconds an answer"]
    return section(
        "What each alternative takes", f'<p class="soft">{text(note)}</p>', table(head, rows, numeric=range(1, len(head)))
    )


def _number(value: float | None, digits: int) -> str:
    return "not measured" if value is None else f"{value:,.{digits}f}"


def _seconds(rung: Rung) -> Raw | str:
    if rung.seconds is None or rung.at_once is None:
        return "not measured"
    how = "one question a request" if rung.at_once == 1 else f"up to {rung.at_once} answers at once"
    return tip(_number(rung.seconds, 2), how)
