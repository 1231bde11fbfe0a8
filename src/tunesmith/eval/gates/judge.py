"""Would people prefer the tuned model's answers, by a judge that they confirmed? Without their labels it decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.eval.gate import Finding, GateKind, GateWords, Limits, Ruling, State, missing, ruling
from tunesmith.eval.judge.measured import JudgeMeasures
from tunesmith.eval.measure import Measurements

__all__ = ["GATE"]

_EVEN = 0.5
_WORDS = GateWords(
    name="judge",
    rule="people would prefer the tuned model's answer to the base's in more than half of all pairs, interval included: by a"
    " judge that agrees with people's labels, corrected for its errors",
    failed="People would prefer the base's answers.",
    unknown="Whether people would prefer the tuned model's answers is not known.",
    topic="whether people would prefer the answers",
)


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    found = measurements.judge
    if found is None:
        return []
    return [ruling(_WORDS, _finding(found), threshold=_EVEN, required=found.may_gate)]


def _finding(found: JudgeMeasures) -> Finding:
    rate = found.win_rate
    if rate.value is None or rate.ci is None:
        return missing(f"the judge {found.name} may not decide: {'; '.join(found.why)}; {rate.why_not}")
    low, high = rate.ci
    text = f"{100 * rate.value:.1f} % ({100 * low:.1f} to {100 * high:.1f} %), corrected by {rate.labelled} labels"
    if not found.may_gate:
        return Finding(
            state="not measured",
            evidence=f"{text}; the judge {found.name} may not decide: {'; '.join(found.why)}",
            value=rate.value,
            interval=rate.ci,
        )
    state: State = "pass" if low > _EVEN else "fail" if high < _EVEN else "not measured"
    if state == "not measured":
        text += ": the interval includes one half; label more pairs"
    return Finding(state=state, evidence=f"{text}; {'; '.join(found.why)}", value=rate.value, interval=rate.ci)


GATE = GateKind(order=110, names=lambda: ["judge"], judge=_judge, of_answers=True)
