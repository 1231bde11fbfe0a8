"""Is the gain in overlap still there when the longer answer is cut to the reference's length? Advisory."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.eval.gain import OVERLAPS, weigh
from tunesmith.eval.gate import GateKind, GateWords, Limits, Ruling, missing, ruling
from tunesmith.eval.measure import Measurements
from tunesmith.eval.measured import improvement
from tunesmith.eval.metrics.registry import metric_named

__all__ = ["GATE"]


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    if measurements.primary not in OVERLAPS:
        return []
    words = GateWords(
        name="equal_length",
        rule=f"{metric_named(measurements.primary).label}: still better than the base when the longer answer is cut to the"
        " reference's length",
        failed="The gain is one of length.",
        unknown="Whether the gain is one of length could not be measured.",
        topic="whether the gain holds when answers are cut to the reference's length",
    )
    comparison = measurements.comparison("base", "tuned")
    difference = comparison.length_matched[measurements.primary] if comparison else None
    gain = improvement(difference, measurements.primary) if difference else None
    found = missing("there is no interval")
    if difference is not None and gain is not None:
        found = weigh(difference, gain, 0.0, level=measurements.level)
    return [ruling(words, found, threshold=0.0, required=False)]


GATE = GateKind(order=90, names=lambda: ["equal_length"], judge=_judge)
