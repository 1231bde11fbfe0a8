"""Do the tuned model's answers still depend on the question: do they loop, or repeat one another, more than before?"""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.eval.gate import Finding, GateKind, GateWords, Limits, Ruling, missing, ruling
from tunesmith.eval.gates.stop import LEAST_ITEMS
from tunesmith.eval.measure import Measurements
from tunesmith.eval.numbers import signed_points

__all__ = ["GATE"]

_REPEATS = {"loop": "loop", "collapse": "repeat the answer to another question"}


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    words = GateWords(
        name="not_collapsed",
        rule="the share of the tuned model's sampled answers that loop, and of those that repeat the answer to another"
        f" question, exceeds that of the base (or of the references) by at most {100 * limits.loop_margin:g} points,"
        f" interval included, on at least {LEAST_ITEMS} questions",
        failed="The tuned model loops, or gives different questions the same answer, far more often than the base.",
        unknown="There are too few answers to tell whether the tuned model loops more than the base.",
        topic="whether answers loop or are all the same",
    )
    return [ruling(words, _finding(measurements, limits.loop_margin), threshold=limits.loop_margin)]


def _finding(measurements: Measurements, margin: float) -> Finding:
    found = [_more_often(measurements, name, margin) for name in _REPEATS]
    worst = max(found, key=lambda one: (("pass", "not measured", "fail").index(one.state), one.value or 0.0))
    evidence = "; ".join(one.evidence for one in found)
    tuned = measurements.systems.get("tuned")
    if worst.state == "pass" and tuned is not None and tuned.answers.num_items < LEAST_ITEMS:
        text = f"{evidence}: too few answers to tell"
        return Finding(state="not measured", evidence=text, value=worst.value, interval=worst.interval)
    return Finding(state=worst.state, evidence=evidence, value=worst.value, interval=worst.interval)


def _more_often(measurements: Measurements, name: str, margin: float) -> Finding:
    """How much more often the tuned model's answers have a fault than those of the base, or the references if higher."""
    comparison, what = measurements.comparison("base", "tuned"), _REPEATS[name]
    difference = comparison.differences[name] if comparison else None
    if difference is None or difference.mean is None or difference.mean_a is None:
        return missing(f"whether answers {what} was not measured")
    excess, usual, whose = difference.mean, difference.mean_a, "the base's"
    if difference.worse == 0:  # there is nothing to make an interval from
        text = f"no question's answers {what} more often than {whose} ({100 * usual:.0f} %)"
        return Finding(state="pass", evidence=text, value=excess)
    if difference.ci is None:
        return missing(f"there is no interval for how often answers {what}")
    low, high = difference.ci.low, difference.ci.high
    reference, own = measurements.references[name], measurements.systems["tuned"].summaries[name]
    if reference is not None and reference > usual and own.ci is not None and own.mean is not None:
        usual, whose = reference, "the references"
        excess, low, high = own.mean - reference, own.ci.low - reference, own.ci.high - reference
    text = (
        f"{100 * (usual + excess):.0f} % of the tuned model's answers {what}, {100 * usual:.0f} % of {whose}"
        f" ({signed_points(excess)} points [{signed_points(low)}, {signed_points(high)}])"
    )
    if high <= margin:
        return Finding(state="pass", evidence=text, value=excess, interval=(low, high))
    if low > margin:
        return Finding(state="fail", evidence=text, value=excess, interval=(low, high))
    text += ", which includes the limit: too few documents to tell"
    return Finding(state="not measured", evidence=text, value=excess, interval=(low, high))


GATE = GateKind(order=50, judge=_judge)
