"""The verdict, from written rules. Each gate is pass, fail or not measured; not measured is never a pass.

A required gate that fails gives DON'T SHIP (exit code 2), else one that is not measured gives CAN'T TELL (3), else SHIP
(0). Advisory gates are shown and never decide. SHIP needs all required gates at once, so testing several of them makes
a false SHIP rarer and not likelier (intersection-union test; Berger 1982), and their p values need no correction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tunesmith.eval.answer_gates import answers_gate, stop_gate
from tunesmith.eval.form_gates import form_gates
from tunesmith.eval.gate import Gate, Limits, Outcome, missing
from tunesmith.eval.measure import METRICS, Measurements, improvement
from tunesmith.eval.numbers import signed, signed_range
from tunesmith.eval.stats import Difference
from tunesmith.systems.registry import by_role, system_kinds
from tunesmith.systems.system import GateWords, SystemKind

__all__ = ["Gate", "Outcome", "Verdict", "VerdictName", "decide"]

VerdictName = Literal["SHIP", "DON'T SHIP", "CAN'T TELL"]
_SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict: one word, its exit code (0, 2, 3), a sentence that explains it, every gate, and what was not measured."""

    verdict: VerdictName
    exit_code: int
    sentence: str
    gates: tuple[Gate, ...]
    not_measured: tuple[str, ...]


def decide(measurements: Measurements, gates: Limits, *, baselines: Sequence[str] = ()) -> Verdict:
    """The verdict on the tuned model. `baselines` are the cheaper alternatives that the recipe asked for."""
    found = [_primary(measurements, gates)]
    compared = [kind for kind in by_role("baseline") if kind.name in baselines or kind.name in measurements.systems]
    found += [_beats(measurements, gates, kind) for kind in compared]
    found += form_gates(measurements, gates)
    found += [stop_gate(measurements, gates), answers_gate(measurements, gates), _general(measurements, gates)]
    if measurements.primary in ("word_overlap", "rouge_l"):
        found.append(_equal_length(measurements))
    failed = [gate for gate in found if gate.required and gate.outcome == "fail"]
    unknown = [gate for gate in found if gate.required and gate.outcome == "not measured"]
    if failed:
        verdict, code, sentence = _no(failed, found)
    elif unknown:
        verdict, code, sentence = _unsure(unknown)
    else:
        verdict, code, sentence = _yes(measurements)
    topics = _of_all(_TOPIC, lambda words: words.topic)
    unseen = [topics[gate.name] for gate in found if gate.outcome == "not measured"]
    unseen += [kind.words.topic for kind in by_role("baseline") if kind not in compared]
    return Verdict(verdict=verdict, exit_code=code, sentence=sentence, gates=tuple(found), not_measured=(*unseen, "safety"))


_TOPIC = {
    "primary": "whether tuning helped",
    "stop": "whether answers end by themselves",
    "answers": "whether answers loop or are all the same",
    "general": "general skills",
    "equal_length": "whether the gain holds when answers are cut to the reference's length",
}


def _of_all(own: Mapping[str, str], words: Callable[[GateWords], str]) -> dict[str, str]:
    """A text for every gate: of those here, and of those that systems declare."""
    declared = [kind.words for kind in system_kinds() if kind.role in ("baseline", "form")]
    return {**own, **{one.name: words(one) for one in declared}}


def _figures(difference: Difference, gain: tuple[float, float, float]) -> str:
    p = "" if difference.p is None else f", p = {difference.p:.3g}"
    return (
        f"improvement {signed_range(gain)}, better on {difference.better} of {difference.n} items"
        f" from {difference.num_groups} documents{p}"
    )


def _clear(difference: Difference) -> bool:
    """The sign-flip test agrees: what keeps equally good systems from shipping more often than one time in forty."""
    return difference.p is not None and difference.p <= _SIGNIFICANCE


def _gain_gate(measurements: Measurements, *, name: str, over: str, margin: float, min_documents: int, rule: str) -> Gate:
    """A required gate on the interval of an improvement of `tuned` over the system `over`."""
    comparison = measurements.comparison(over, "tuned")
    difference = comparison.differences[measurements.primary] if comparison else None
    gain = improvement(difference, measurements.primary) if difference else None
    if difference is None:
        outcome, evidence, value = missing(f"{over} or tuned was not run")
    elif difference.num_groups < min_documents:
        outcome, evidence, value = missing(f"{difference.num_groups} test documents are too few for a reliable interval")
    elif gain is None:
        outcome, evidence, value = missing("there is no interval")
    else:
        outcome, evidence, value = _weigh(difference, gain, margin)
        if outcome == "not measured" and measurements.detectable is not None and over == "base":
            evidence += f"; this test set would detect a gain of {margin + measurements.detectable:.3f} with 80 % power"
    return Gate(name=name, required=True, rule=rule, outcome=outcome, evidence=evidence, value=value, margin=margin)


def _weigh(difference: Difference, gain: tuple[float, float, float], margin: float) -> tuple[Outcome, str, float]:
    figures = _figures(difference, gain)
    if gain[1] > margin and _clear(difference):
        return "pass", figures, gain[0]
    if gain[2] <= margin:
        return "fail", figures, gain[0]
    if gain[1] <= margin:
        reason = f"the interval includes the margin of {margin:g}" if margin > 0 else "the interval includes no improvement"
    elif difference.smallest_p is not None and difference.smallest_p > _SIGNIFICANCE:
        reason = f"with {difference.num_groups} documents p cannot fall below {difference.smallest_p:.3g}"
    else:
        reason = "the permutation test does not agree"
    return "not measured", f"{figures}: {reason}; too few documents to tell", gain[0]


def _primary(measurements: Measurements, gates: Limits) -> Gate:
    label, unit = METRICS[measurements.primary].label, METRICS[measurements.primary].unit
    return _gain_gate(
        measurements,
        name="primary",
        over="base",
        margin=gates.primary_margin,
        min_documents=gates.min_documents,
        rule=f"{label}: the whole 95 % interval of the gain over the base is above {gates.primary_margin:g} {unit},"
        f" with p ≤ {_SIGNIFICANCE}, on at least {gates.min_documents} test documents",
    )


def _beats(measurements: Measurements, gates: Limits, kind: SystemKind) -> Gate:
    label = METRICS[measurements.primary].label
    return _gain_gate(
        measurements,
        name=kind.words.name,
        over=kind.name,
        margin=0.0,
        min_documents=gates.min_documents,
        rule=f"{label}: {kind.words.rule}, with the whole interval above 0",
    )


def _general(measurements: Measurements, gates: Limits) -> Gate:
    rule = f"bits per byte on general text: the tuned model is at most {gates.general_margin:g} worse, interval included"
    general = measurements.general
    gain = improvement(general, "bits_per_byte") if general else None
    outcome: Outcome
    value: float | None
    if general is None or gain is None:
        outcome, evidence, value = missing("no general text was measured")
    else:
        value = gain[0]
        evidence = f"improvement {signed_range(gain)} bits per byte on {general.n} general texts"
        outcome = "not measured"
        if gain[1] >= -gates.general_margin:
            outcome = "pass"
        elif gain[2] < -gates.general_margin:
            outcome = "fail"
        else:
            evidence += ": the interval includes the limit"
    return Gate(name="general", required=False, rule=rule, outcome=outcome, evidence=evidence, value=value)


def _equal_length(measurements: Measurements) -> Gate:
    label = METRICS[measurements.primary].label
    rule = f"{label}: still better than the base when the longer answer is cut to the reference's length"
    comparison = measurements.comparison("base", "tuned")
    difference = comparison.length_matched[measurements.primary] if comparison else None
    gain = improvement(difference, measurements.primary) if difference else None
    if difference is None or gain is None:
        outcome, evidence, value = missing("there is no interval")
    else:
        outcome, evidence, value = _weigh(difference, gain, 0.0)
    return Gate(name="equal_length", required=False, rule=rule, outcome=outcome, evidence=evidence, value=value)


def _yes(measurements: Measurements) -> tuple[VerdictName, int, str]:
    comparison = measurements.comparison("base", "tuned")
    difference = comparison.differences[measurements.primary] if comparison else None
    gain = improvement(difference, measurements.primary) if difference else None
    if difference is None or gain is None:
        raise AssertionError("SHIP without a measured improvement")
    beaten = [f", and than the {kind.title}" for kind in by_role("baseline") if kind.name in measurements.systems]
    if measurements.primary == "bits_per_byte":
        claim = f"The tuned model predicts the author's held-out words better than the base does{''.join(beaten)}"
        size = f"{gain[0]:.3f} bits per byte less"
    else:
        claim = f"The tuned model's answers are closer to the references than those of the base are{''.join(beaten)}"
        size = f"{signed(gain[0])} {METRICS[measurements.primary].label}"
    relative = "" if difference.relative is None else f" ({100 * abs(difference.relative):.0f} %)"
    sentence = f"{claim}: {size}{relative}, better on {difference.better} of {difference.n} items."
    return "SHIP", 0, sentence


_FAILED = {
    "primary": "Tuning did not help: the improvement over the base is not above the margin.",
    "stop": "Too few of the tuned model's answers end by themselves with at least one word.",
    "answers": "The tuned model loops, or gives different questions the same answer, far more often than the base.",
}
_UNKNOWN = {
    "primary": "The test set is too small, or the difference too small, to tell whether tuning helped.",
    "stop": "Whether the tuned model's answers end by themselves could not be measured.",
    "answers": "There are too few answers to tell whether the tuned model loops more than the base.",
}


def _no(failed: Sequence[Gate], found: Sequence[Gate]) -> tuple[VerdictName, int, str]:
    """The first two reasons, and a note if answers got worse although the primary metric improved."""
    sentences = _of_all(_FAILED, lambda words: words.failed)
    reasons = [sentences[gate.name] for gate in failed[:2]]
    helped = any(gate.name == "primary" and gate.outcome == "pass" for gate in found)
    if helped and {gate.name for gate in failed} & {"stop", "answers"}:
        reasons.insert(0, "The primary metric improved, but the answers got worse.")
    return "DON'T SHIP", 2, " ".join(reasons)


def _unsure(unknown: Sequence[Gate]) -> tuple[VerdictName, int, str]:
    sentences = _of_all(_UNKNOWN, lambda words: words.unknown)
    return "CAN'T TELL", 3, " ".join(sentences[gate.name] for gate in unknown[:2])
