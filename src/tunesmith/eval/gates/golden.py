"""Is the tuned model no worse than the base on the golden set, which nobody chose by looking at this run?"""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.eval.gate import Finding, GateKind, GateWords, Limits, Ruling, State, missing, ruling
from tunesmith.eval.measure import Measurements
from tunesmith.eval.measured import improvement
from tunesmith.eval.numbers import signed_range
from tunesmith.eval.probe_measures import GoldenMeasures

__all__ = ["GATE"]

_MARGIN = 0.02  # bits per byte that are within noise, as in the gate `better`
_WORDS = GateWords(
    name="golden",
    rule=f"bits per byte on the golden set: the tuned model is at most {_MARGIN:g} worse than the base, interval included",
    failed="On the golden set the tuned model is worse than the base.",
    unknown="Whether the tuned model is worse on the golden set is not known.",
    topic="the golden set",
)


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    found = measurements.golden
    if found is None:
        return []
    enough = found.num_documents >= limits.min_documents
    return [ruling(_WORDS, _finding(found), threshold=-_MARGIN, required=enough)]


def _finding(found: GoldenMeasures) -> Finding:
    gain = improvement(found.change, "bits_per_byte")
    size = f"{found.num_items} golden items of {found.num_documents} documents"
    if gain is None:
        return missing(f"{size} are too few for an interval")
    value, low, high = gain
    evidence = f"improvement {signed_range(gain)} bits per byte on {size}"
    state: State = "pass" if low >= -_MARGIN else "fail" if high < -_MARGIN else "not measured"
    if state == "not measured":
        evidence += ": the interval includes the limit"
    return Finding(state=state, evidence=evidence, value=value, interval=(low, high))


GATE = GateKind(order=47, names=lambda: ["golden"], judge=_judge)
