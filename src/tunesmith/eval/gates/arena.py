"""Do people who do not know which is which prefer the tuned model's answers? Judged only where there are votes.

A clear preference for the base decides the verdict; without enough votes the gate is advisory and *not measured*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tunesmith.eval.arena.held import HeldVotes
from tunesmith.eval.arena.results import ArenaResults
from tunesmith.eval.arena.stopping import ALPHA
from tunesmith.eval.gate import Finding, GateKind, GateWords, Limits, Ruling, missing, ruling
from tunesmith.eval.measure import Measurements

__all__ = ["GATE"]

_WORDS = GateWords(
    name="arena",
    rule="in blind votes the tuned model's answers are preferred to the base's, with at most a 5 % chance of a false decision"
    " however often the votes were read",
    failed="In blind votes people prefer the base.",
    unknown="Whether people prefer the tuned model is not decided.",
    topic="whether people prefer its answers",
)


def _judge(measurements: Measurements, limits: Limits, baselines: Sequence[str]) -> list[Ruling]:
    if measurements.people is None:
        return []
    found = _told(_finding(measurements.people), measurements.people, measurements.votes)
    return [ruling(_WORDS, found, threshold=0.5, required=found.state == "fail")]


def _told(found: Finding, people: ArenaResults, votes: HeldVotes | None) -> Finding:
    """The finding with the arena that it is about. Where a run has several, they share the chance of a false decision (a union
    bound: otherwise one more arena would be one more attempt), and one that prefers the base takes away a pass."""
    if votes is None:
        return found
    evidence = f"{found.evidence}; {votes.said}"
    if found.state == "not measured" or not votes.others:
        return replace(found, evidence=evidence)
    arenas = 1 + len(votes.others)
    if people.decision.tests[0].evidence < arenas / ALPHA:
        needed = f"the evidence is {people.decision.tests[0].evidence:.0f} to 1, and {arenas / ALPHA:.0f} to 1 would be enough"
        return replace(found, state="not measured", evidence=f"{evidence}; {arenas} arenas share the 5 %: {needed}")
    against = [one for one in votes.others if one.better == "base"]
    if found.state == "pass" and against:
        return replace(found, state="not measured", evidence=f"{evidence}; arena {against[-1].arena[:8]} prefers the base")
    return replace(found, evidence=evidence)


def _finding(people: ArenaResults) -> Finding:
    if people.decision.state == "not measured" or people.win_rate.value is None:
        return missing(people.decision.why)
    rate = people.win_rate
    interval = None if rate.ci is None else (rate.ci.low, rate.ci.high)
    evidence = f"{people.decision.why}; win rate {100 * (rate.value or 0):.0f} %"
    if interval is not None:
        evidence += f" [{100 * interval[0]:.0f}, {100 * interval[1]:.0f}]"
    if people.consistency.value is not None:
        n = people.consistency.n
        evidence += f"; voters gave the same vote in {round(people.consistency.value * n)} of {n} pairs shown again"
    if people.decision.state != "enough":
        return Finding(state="not measured", evidence=evidence, value=rate.value, interval=interval)
    if people.decision.better == "base":
        return Finding(state="fail", evidence=evidence, value=rate.value, interval=interval)
    if _only_by_prompt(people):
        evidence += "; with the prompts of a document as one observation the interval includes one half"
        return Finding(state="not measured", evidence=evidence, value=rate.value, interval=interval)
    return Finding(state="pass", evidence=evidence, value=rate.value, interval=interval, warning=_length(people))


def _only_by_prompt(people: ArenaResults) -> bool:
    coarse = people.by_document
    return coarse is not None and (coarse.ci is None or coarse.ci.low <= 0.5)


def _length(people: ArenaResults) -> str:
    """A warning where voters prefer the longer answer and nothing is left of the preference at equal length."""
    longer, equal = people.longer.ci, people.at_equal_length.ci
    if longer is None or longer.low <= 0.5 or (equal is not None and equal.low > 0.5):
        return ""
    return "blind votes prefer the longer answer, and at equal length they do not tell"


GATE = GateKind(order=110, names=lambda: ["arena"], judge=_judge, of_answers=True)
