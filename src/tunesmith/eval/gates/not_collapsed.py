"""Are the tuned model's answers still answers: do they loop, repeat one another, or have nothing to do with the question?"""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.eval.gate import Finding, GateKind, GateWords, Limits, Ruling, State, missing, ruling, unless_one_sided
from tunesmith.eval.gates.stop import LEAST_ITEMS
from tunesmith.eval.measure import Measurements
from tunesmith.eval.numbers import signed_points, signed_range
from tunesmith.eval.stats import Summary

__all__ = ["GATE"]

_REPEATS = {"loop": "loop", "collapse": "repeat the answer to another question"}
_ONE = 0.9  # from this share of the pairs on, questions with different right answers get what is as good as one answer
_LEFT = 0.25  # of what the base has: the part of a quality that must be left
_OVERLAPS = ("word_overlap", "rouge_l")


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    words = GateWords(
        name="not_collapsed",
        rule="the share of the tuned model's sampled answers that loop, and of those that repeat the answer to another"
        f" question without being right, exceeds that of the base (or of the references) by at most"
        f" {100 * limits.loop_margin:g} points, interval included, on at least {LEAST_ITEMS} questions; at most"
        f" {100 * _ONE:g} % of the pairs of questions with different references get the same answer; word overlap, cut to the"
        f" reference's length, is not certainly below {100 * (1 - _LEFT):g} % of the base's, nor dependence on the question"
        f" below {100 * _LEFT:g} %",
        failed="The tuned model's answers collapsed: they loop, are all the same, ignore the question, or are no longer text.",
        unknown="There are too few answers to tell whether the tuned model's answers collapsed.",
        topic="whether answers loop or are all the same",
    )
    comparison = measurements.comparison("base", "tuned")
    found = unless_one_sided(_finding(measurements, limits.loop_margin), comparison.one_sided("ended") if comparison else 0)
    return [ruling(words, found, threshold=limits.loop_margin)]


def _finding(measurements: Measurements, margin: float) -> Finding:
    found = [_more_often(measurements, name, margin) for name in _REPEATS]
    found += [*_one_answer(measurements), *_depends(measurements), *_overlaps(measurements)]
    worst = max(found, key=lambda one: ("pass", "not measured", "fail").index(one.state))
    evidence = "; ".join(one.evidence for one in found)
    warning = "; ".join([one.warning for one in found if one.warning] + _floors(measurements))
    tuned = measurements.systems.get("tuned")
    if worst.state == "pass" and tuned is not None and tuned.answers.num_items < LEAST_ITEMS:
        text = f"{evidence}: too few answers to tell"
        return Finding(state="not measured", evidence=text, value=worst.value, interval=worst.interval)
    return Finding(state=worst.state, evidence=evidence, value=worst.value, interval=worst.interval, warning=warning)


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
    reference, own = measurements.references[name], measurements.systems["tuned"].summaries[name]
    ends = None if difference.ci is None else (difference.ci.low, difference.ci.high)
    if reference is not None and reference > usual and own.mean is not None:
        usual, whose, excess = reference, "the references", own.mean - reference
        ends = None if own.ci is None else (own.ci.low - reference, own.ci.high - reference)
    text = f"{100 * (usual + excess):.0f} % of the tuned model's answers {what}, {100 * usual:.0f} % of {whose}"
    if ends is None:  # every document says the same: as many as there are agree
        state: State = "fail" if excess > margin and difference.num_groups >= measurements.min_documents else "not measured"
        return Finding(state="pass" if excess <= 0 else state, evidence=text, value=excess)
    low, high = ends
    text += f" ({signed_points(excess)} points [{signed_points(low)}, {signed_points(high)}])"
    if high <= margin:
        return Finding(state="pass", evidence=text, value=excess, interval=ends)
    if low > margin:
        return Finding(state="fail", evidence=text, value=excess, interval=ends)
    text += ", which includes the limit: too few documents to tell"
    return Finding(state="not measured", evidence=text, value=excess, interval=ends)


def _one_answer(measurements: Measurements) -> list[Finding]:
    """Whether the tuned model gives one answer to everything, which is right as often as its label is frequent.

    No finding if the interval rules it out, or if all questions have the same reference.
    """
    tuned = measurements.one_answer.get("tuned")
    if tuned is None or tuned.mean is None:
        return []
    low, high = (tuned.mean, tuned.mean) if tuned.ci is None else (tuned.ci.low, tuned.ci.high)
    if high <= _ONE:
        return []
    text = f"{100 * tuned.mean:.0f} % of the pairs of questions with different references get the same answer"
    enough = tuned.ci is not None or tuned.num_groups >= measurements.min_documents
    if enough and low > _ONE:
        return [Finding(state="fail", evidence=f"{text}: one answer to everything", value=tuned.mean, interval=(low, high))]
    text += " from the tuned model, which may be one answer to everything: too few documents to tell"
    return [Finding(state="not measured", evidence=text, value=tuned.mean, interval=(low, high))]


def _depends(measurements: Measurements) -> list[Finding]:
    """Answers to one question against answers to others: nothing is said where there is one answer a question, or no base's."""
    base, tuned = (measurements.dependence.get(name) for name in ("base", "tuned"))
    if base is None or tuned is None or base.mean is None or tuned.mean is None or tuned.num_groups < 2:
        return []
    right = measurements.dependence["references"].mean
    usual = base.mean if right is None else min(base.mean, right)  # right answers of few kinds depend on it less than babble
    more = f"{_shown(tuned)} ({_shown(base)} of the base's)"
    text = f"answers to one question resemble each other more than answers to others by {more}"
    # without a spread, one answer for everything for example, the documents seen agree on the value
    value, interval = tuned.mean, (tuned.mean, tuned.mean) if tuned.ci is None else (tuned.ci.low, tuned.ci.high)
    enough = tuned.ci is not None or tuned.num_groups >= measurements.min_documents
    if enough and base.ci is not None and base.ci.low > 0 and interval[1] < _LEFT * usual:
        return [Finding(state="fail", evidence=f"{text}: they ignore the question", value=value, interval=interval)]
    doubt = interval[0] <= 0 or (usual > 0 and interval[1] < usual)
    warning = (
        f"its answers depend less on the question than the base's ({tuned.mean:.3f} after {base.mean:.3f})" if doubt else ""
    )
    return [Finding(state="pass", evidence=text, value=value, interval=interval, warning=warning)]


def _shown(summary: Summary) -> str:
    ends = "" if summary.ci is None else f" [{summary.ci.low:.3f}, {summary.ci.high:.3f}]"
    return f"{summary.mean:.3f}{ends}"


def _overlaps(measurements: Measurements) -> list[Finding]:
    """Word overlap with the references at equal length: it falls by far where answers are no text any more."""
    comparison = measurements.comparison("base", "tuned")
    difference = comparison.length_matched["word_overlap"] if comparison else None
    if difference is None or difference.mean is None or difference.mean_a is None or difference.ci is None:
        return []
    gain = (difference.mean, difference.ci.low, difference.ci.high)
    text = f"word overlap, cut to the reference's length, {signed_range(gain)} from {difference.mean_a:.3f}"
    fell = difference.ci.high < -_LEFT * difference.mean_a
    return [Finding(state="fail" if fell else "pass", evidence=text, value=gain[0], interval=gain[1:])]


def _floors(measurements: Measurements) -> list[str]:
    """The trivial answers that score at least as well as the tuned model's in both overlaps."""
    tuned = measurements.systems.get("tuned")
    if tuned is None:
        return []
    means = [tuned.summaries[metric].mean for metric in _OVERLAPS]
    beaten = [
        name.replace("_", " ")
        for name, floor in measurements.floors.items()
        if all(
            mean is not None and (least := floor[metric].mean) is not None and least >= mean
            for metric, mean in zip(_OVERLAPS, means, strict=True)
        )
    ]
    return [f"its answers overlap with the references no more than {', '.join(beaten)}"] if beaten else []


GATE = GateKind(order=50, names=lambda: ["not_collapsed"], judge=_judge, of_answers=True)
