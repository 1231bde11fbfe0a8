"""Does the tuned model still answer general questions that a program can check?"""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.eval.gate import Finding, GateKind, GateWords, Limits, Ruling, missing, ruling
from tunesmith.eval.gates.stop import LEAST_ITEMS
from tunesmith.eval.measure import Measurements
from tunesmith.eval.numbers import percent, signed_points
from tunesmith.eval.suites.result import SuiteResult

__all__ = ["GATE", "SUITE"]

SUITE = "general"
_WARN = 0.02  # of the questions: a loss that the interval does not exclude is warned of
_WORST = 3  # kinds of questions that are named with what they lost


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    margin = limits.general_margin
    words = GateWords(
        name="general",
        rule=f"the share of general questions answered right falls by no more than {100 * margin:g} points against the base,"
        " interval included, over the kinds of questions at which the base does better than by guessing",
        failed="The tuned model has forgotten: it answers far fewer general questions right than the base.",
        unknown="Whether the tuned model kept its general skills could not be measured.",
        topic="general skills",
    )
    return [ruling(words, _finding(measurements.suites.get(SUITE), margin), threshold=-margin)]


def _finding(result: SuiteResult | None, margin: float) -> Finding:
    if result is None:
        return missing("no general questions were asked")
    found = result.measurable
    if found is None:
        return missing(
            f"not measurable with this base: it answers {percent(result.overall.base)} of {result.overall.n} general questions"
            " right, not more than by guessing"
        )
    value, ci = found.difference.mean, found.difference.ci
    evidence = f"{percent(found.base)} → {percent(found.tuned)} of {found.n} general questions answered right"
    if result.at_chance:
        evidence += f" (without {', '.join(result.at_chance)}, where the base is at chance)"
    if found.n < LEAST_ITEMS:
        return Finding(state="not measured", evidence=f"{evidence}: too few questions to tell", value=value)
    one_sided = result.overall.one_sided
    if value is not None and found.difference.worse == 0 and not one_sided:  # there is nothing to make an interval from
        return Finding(state="pass", evidence=f"{evidence}; no question was lost", value=value)
    if value is None or ci is None:
        return Finding(state="not measured", evidence=f"{evidence}: there is no interval", value=value)
    evidence += f": {signed_points(value)} points [{signed_points(ci.low)}, {signed_points(ci.high)}]{_lost(result)}"
    interval = (ci.low, ci.high)
    low = ci.low - one_sided / (found.n + one_sided)  # what is scored on one side only may all have been lost
    evidence += f"; {one_sided} answers could be scored on one side only" if one_sided else ""
    if low >= -margin:
        warning = "" if low >= -_WARN else f"general questions: {signed_points(value)} points ({_range(interval)})"
        return Finding(state="pass", evidence=evidence, value=value, interval=interval, warning=warning)
    if ci.high < -margin:
        return Finding(state="fail", evidence=evidence, value=value, interval=interval)
    return Finding(
        state="not measured", evidence=f"{evidence}: the interval includes the limit", value=value, interval=interval
    )


def _range(interval: tuple[float, float]) -> str:
    return f"{signed_points(interval[0])} to {signed_points(interval[1])}"


def _lost(result: SuiteResult) -> str:
    """The kinds of questions that lost most."""
    kinds = [one for one in result.by_tag if one.label.startswith("kind=") and (one.difference.mean or 0.0) < 0]
    worst = sorted(kinds, key=lambda one: one.difference.mean or 0.0)[:_WORST]
    named = [f"{one.label.removeprefix('kind=')} {signed_points(one.difference.mean or 0.0)}" for one in worst]
    return f"; most lost: {', '.join(named)}" if named else ""


GATE = GateKind(order=40, names=lambda: ["general"], judge=_judge)
