"""Weighing the gain of the tuned model over another system against a margin: the rule of several gates."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tunesmith.eval.gate import Finding, Limits, missing, unless_one_sided
from tunesmith.eval.measure import Measurements
from tunesmith.eval.measured import improvement
from tunesmith.eval.numbers import signed_range
from tunesmith.eval.stats import Difference

__all__ = ["OVERLAPS", "gain_over", "margin_of", "usual_margin", "weigh"]

_MARGINS: Mapping[str, float] = MappingProxyType(
    {
        "bits_per_byte": 0.02,
        "word_overlap": 0.01,
        "rouge_l": 0.01,
        "exact_match": 0.02,
        "field_accuracy": 0.02,
        "field_f1": 0.02,
        "json_field": 0.02,
    }
)
_OTHER = 0.01  # of a metric that is not listed

OVERLAPS = ("word_overlap", "rouge_l")  # the metrics in which a longer answer can score better by its length alone


def usual_margin(metric: str) -> float:
    """The gain in a metric, in its own unit, that is too small to be worth a release."""
    return _MARGINS.get(metric.partition(":")[0], _OTHER)


def margin_of(limits: Limits, metric: str) -> float:
    """The gain that `metric` must exceed: as the recipe says, or the preset."""
    return usual_margin(metric) if limits.better_margin == "auto" else limits.better_margin


def gain_over(measurements: Measurements, other: str, *, margin: float, min_documents: int) -> Finding:
    """Whether the tuned model's gain over the system `other` in the primary metric is above `margin`."""
    comparison = measurements.comparison(other, "tuned")
    difference = comparison.differences[measurements.primary] if comparison else None
    gain = improvement(difference, measurements.primary) if difference else None
    if comparison is None or difference is None:
        return missing(f"{other} or tuned was not run")
    if difference.num_groups < min_documents:
        return missing(f"{difference.num_groups} test documents are too few for a reliable interval")
    if gain is None:
        return missing(f"there is no interval: {difference.no_interval}")
    found = weigh(difference, gain, margin, level=measurements.level)
    found = unless_one_sided(found, comparison.one_sided(measurements.primary), f"{other} and tuned")
    if found.state == "not measured" and measurements.detectable is not None and other == "base":
        power = f"; this test set would detect a gain of {margin + measurements.detectable:.3f} with 80 % power"
        return Finding(state=found.state, evidence=found.evidence + power, value=found.value, interval=found.interval)
    return found


def weigh(difference: Difference, gain: tuple[float, float, float], margin: float, *, level: float) -> Finding:
    """Pass: the interval of `gain` is above the margin and the sign-flip test agrees. Fail: the interval is not above it
    anywhere. Not measured: anything else, with the reason. A negative margin asks whether less than that is lost; `difference`
    must hold the p for the same margin."""
    value, low, high = gain
    figures = _figures(difference, gain)
    alpha = 1 - level + 1e-12
    doubts = "; ".join(difference.warnings)
    agrees = difference.p is not None and difference.p <= alpha
    if low > margin and agrees:
        return Finding(state="pass", evidence=figures, value=value, interval=(low, high), warning=doubts)
    if high <= margin:
        return Finding(state="fail", evidence=figures, value=value, interval=(low, high))
    if low <= margin:
        reason = f"the interval includes the margin of {margin:g}" if margin > 0 else "the interval includes no improvement"
        if margin < 0:
            reason = f"the interval includes a loss of {-margin:g}"
    elif difference.smallest_p is not None and difference.smallest_p > alpha:
        reason = f"with {difference.num_groups} documents p cannot fall below {difference.smallest_p:.3g}"
    else:
        reason = "the permutation test does not agree"
    return Finding(
        state="not measured",
        evidence=f"{figures}: {reason}; too few documents to tell",
        value=value,
        interval=(low, high),
        warning=doubts,
    )


def _figures(difference: Difference, gain: tuple[float, float, float]) -> str:
    p = "" if difference.p is None else f", p = {difference.p:.3g}"
    return (
        f"improvement {signed_range(gain)}, better on {difference.better} of {difference.n} items"
        f" from {difference.num_groups} documents{p}"
    )
