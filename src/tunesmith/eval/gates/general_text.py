"""Does the tuned model still expect general text as the base does? A likelihood on texts from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.eval.gate import Finding, GateKind, GateWords, Limits, Ruling, missing, ruling
from tunesmith.eval.measure import Measurements
from tunesmith.eval.measured import improvement
from tunesmith.eval.numbers import signed_range

__all__ = ["GATE"]

_WARN = 0.5  # of the margin: what a gate that passes warns of


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    margin = limits.general_text_margin
    words = GateWords(
        name="general_text",
        rule=f"bits per byte on general text: the tuned model is at most {margin:g} worse, interval included",
        failed="The tuned model has forgotten: it expects general text far less than the base does.",
        unknown="Whether the tuned model still knows general text could not be measured.",
        topic="likelihood of general text",
    )
    return [ruling(words, _finding(measurements, margin), threshold=-margin)]


def _finding(measurements: Measurements, margin: float) -> Finding:
    general = measurements.general
    gain = improvement(general, "bits_per_byte") if general else None
    if general is None or gain is None:
        return missing("no general text was measured")
    value, low, high = gain
    evidence = f"improvement {signed_range(gain)} bits per byte on {general.n} general texts"
    if low >= -margin:
        warning = "" if low >= -margin * _WARN else f"general text costs {-value:.2f} bits per byte more than with the base"
        return Finding(state="pass", evidence=evidence, value=value, interval=(low, high), warning=warning)
    if high < -margin:
        return Finding(state="fail", evidence=evidence, value=value, interval=(low, high))
    evidence += ": the interval includes the limit"
    return Finding(state="not measured", evidence=evidence, value=value, interval=(low, high))


GATE = GateKind(order=45, names=lambda: ["general_text"], judge=_judge)
