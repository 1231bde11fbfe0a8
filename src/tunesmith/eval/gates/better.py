"""Is the tuned model better than the base, by more than the margin, in the metric that decides?"""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.eval.gain import gain_over, margin_of, usual_margin
from tunesmith.eval.gate import GateKind, GateWords, Limits, Ruling, ruling
from tunesmith.eval.measure import Measurements
from tunesmith.eval.metrics.registry import metric_named

__all__ = ["GATE"]


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    metric, margin = metric_named(measurements.primary), margin_of(limits, measurements.primary)
    words = GateWords(
        name="better",
        rule=f"{metric.label}: the whole {100 * measurements.level:.4g} % interval of the gain over the base is above"
        f" {margin:g} {metric.unit}, with p ≤ {1 - measurements.level:.3g}, on at least {limits.min_documents} test documents",
        failed="Tuning did not help: the improvement over the base is not above the margin.",
        unknown="The test set is too small, or the difference too small, to tell whether tuning helped.",
        topic="whether tuning helped",
    )
    found = gain_over(measurements, "base", margin=margin, min_documents=limits.min_documents)
    usual = usual_margin(measurements.primary)
    loosened = f"gates.better_margin is {margin:g}, by default {usual:g} for {metric.label}" if margin < usual else ""
    return [ruling(words, found, threshold=margin, loosened=loosened)]


GATE = GateKind(order=10, names=lambda: ["better"], judge=_judge)
