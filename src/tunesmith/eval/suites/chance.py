"""What a system gets right without answering the question: the level that its shares must clear before they mean anything."""

from __future__ import annotations

from collections import defaultdict

from tunesmith.eval.suites.run import SuiteRun
from tunesmith.eval.suites.scorers import SCORERS
from tunesmith.eval.suites.suite import Suite

__all__ = ["chance_levels"]

_OTHERS = 20  # answers to other questions that are tried on each question


def chance_levels(suite: Suite, run: SuiteRun) -> tuple[float, ...]:
    """For each item the larger of two: the chance of its scorer (1 / options), and the share of the run's own answers to other
    questions of the same kind that would be right here.

    The second finds what a scorer lets through: one sentence without commas keeps "no commas" whatever it is about. Answers to
    twenty other questions are tried, evenly spread, of other groups. 0 for an item that cannot be scored.
    """
    texts = {said.item_id: said.text for said in run.generations}
    kinds: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(suite.items):
        if item.id in texts:
            kinds[item.tag("kind")].append(place)
    levels = [0.0 if item.unscored else SCORERS[item.scorer].chance(item) for item in suite.items]
    for places in kinds.values():
        for number, place in enumerate(places):
            item = suite.items[place]
            others = [p for p in places[number + 1 :] + places[:number] if suite.items[p].group != item.group]
            tried = [others[n * len(others) // _OTHERS] for n in range(_OTHERS)] if len(others) > _OTHERS else others
            right = [SCORERS[item.scorer].score(texts[suite.items[p].id], item) is True for p in tried]
            if right:
                levels[place] = max(levels[place], sum(right) / len(right))
    return tuple(levels)
