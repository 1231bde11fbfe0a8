"""Do the tuned model's answers end by themselves at the sampling settings, about as often as the base's or nearly always?"""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.eval.gate import Finding, GateKind, GateWords, Limits, Ruling, missing, ruling, unless_one_sided
from tunesmith.eval.measure import Measurements
from tunesmith.eval.numbers import percent, signed_points

__all__ = ["GATE"]

LEAST_ITEMS = 20  # questions below which no gate about answers passes
_NEARLY_ALL, _HALF = 0.9, 0.5


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    margin = limits.stop_margin
    words = GateWords(
        name="stop",
        rule="the tuned model's sampled answers end by themselves and contain a word: the share, interval included, is at most"
        f" {100 * margin:g} points below the base's, or at least {100 * _NEARLY_ALL:g} %, and not below {100 * _HALF:g} %;"
        f" on at least {LEAST_ITEMS} questions",
        failed="Too few of the tuned model's answers end by themselves with at least one word.",
        unknown="Whether the tuned model's answers end by themselves could not be measured.",
        topic="whether answers end by themselves",
    )
    comparison = measurements.comparison("base", "tuned")
    found = unless_one_sided(_finding(measurements, margin), comparison.one_sided("ended") if comparison else 0)
    return [ruling(words, found, threshold=-margin)]


def _finding(measurements: Measurements, margin: float) -> Finding:
    """The value is the difference of the two shares, tuned less base."""
    system, limit = measurements.systems.get("tuned"), measurements.limit
    share = None if system is None else system.answers.ended.share
    if system is None or share is None:
        return missing("the tuned model gave no answers")
    answers, ended = system.answers, system.answers.ended
    comparison = measurements.comparison("base", "tuned")
    difference = comparison.differences["ended"] if comparison else None
    value = difference.mean if difference else None
    interval = None if difference is None or difference.ci is None else (difference.ci.low, difference.ci.high)
    evidence = f"{ended.count} of {ended.n} answers ended by themselves ({percent(ended)}), {answers.cut.count} cut,"
    evidence += f" {answers.empty.count} empty"
    if value is not None and interval is not None:
        low, high = (signed_points(end) for end in interval)
        evidence += f"; {signed_points(value)} points [{low}, {high}] against the base"
    if system.greedy.ended.share is not None and not measurements.use.is_plain_greedy:
        evidence += f"; with greedy decoding, for comparison, {percent(system.greedy.ended, interval=False)}"
    if limit is not None and limit.too_long > margin * limit.num_references:
        evidence += (
            f": {limit.too_long} of {limit.num_references} references need more than the limit of {limit.max_new_tokens}"
            " tokens, so this does not measure the model; set eval.max_new_tokens=auto"
        )
        return Finding(state="not measured", evidence=evidence, value=value, interval=interval)
    least, most = (0.0, 1.0) if ended.ci is None else (ended.ci.low, ended.ci.high)
    # enough of them end, whatever the base does; or far too few do, whatever the base does
    if most < _HALF or (interval is not None and interval[1] < -margin and least < _NEARLY_ALL):
        return Finding(state="fail", evidence=evidence, value=value, interval=interval)
    if answers.num_items < LEAST_ITEMS:
        return Finding(state="not measured", evidence=f"{evidence}: too few answers to tell", value=value, interval=interval)
    as_often = difference is not None and (difference.worse == 0 or (interval is not None and interval[0] >= -margin))
    if least >= _NEARLY_ALL or (share >= _HALF and as_often):
        few = "" if share >= _NEARLY_ALL else f"only {percent(ended, interval=False)} of the answers end by themselves"
        return Finding(state="pass", evidence=evidence, value=value, interval=interval, warning=few)
    evidence += ": the interval includes the limit, too few documents to tell"
    return Finding(state="not measured", evidence=evidence, value=value, interval=interval)


GATE = GateKind(order=70, names=lambda: ["stop"], judge=_judge, of_answers=True)
