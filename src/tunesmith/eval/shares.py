"""Shares of answers: how many ended, were cut, were empty, loop, or are the same to different questions; each with an interval.

Several draws of one question resemble each other, and so do the questions of one document: see `clustered_share`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.core.records import Generation
from tunesmith.eval.metrics.repetition import loops, same_answers
from tunesmith.eval.metrics.text import num_words
from tunesmith.eval.proportions import Share, clustered_share
from tunesmith.eval.results import Item

__all__ = ["SHARES", "AnswerShares", "answer_shares", "ended"]

SHARES = ("ended", "cut", "empty", "loop", "collapse")  # the fields of AnswerShares that are shares


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerShares:
    """What a system's answers are like. `cut`, `ended` and `empty` part them: cut at the limit; ended by itself; ended without
    a word where the reference has words.

    `loop`: the answer goes round in a loop (`eval.metrics.repetition`). `collapse`: the answer is not right, and one to another
    question, with another reference, has the same words; counted over all draws. `num_items` questions were answered,
    `num_draws` times each at most.
    """

    num_items: int
    num_draws: int
    ended: Share
    cut: Share
    empty: Share
    loop: Share
    collapse: Share


def ended(generations: Sequence[Generation], items: Sequence[Item]) -> list[bool]:
    """Whether each answer ended by itself and contains a word, where the reference contains one."""
    of = {item.id: item for item in items}
    return [
        g.finish_reason == "stop" and (num_words(g.text) > 0 or num_words(of[g.item_id].reference) == 0) for g in generations
    ]


def answer_shares(generations: Sequence[Generation], items: Sequence[Item], *, level: float = 0.95) -> AnswerShares:
    """The shares of one system's answers, clustered by document, with intervals at `level`."""
    of = {item.id: item for item in items}
    groups = [of[g.item_id].group for g in generations]
    stopped = [g.finish_reason == "stop" for g in generations]
    spoken = ended(generations, items)
    asked = [of[g.item_id] for g in generations]
    same = same_answers([g.text for g in generations], [item.question for item in asked], [(item.reference,) for item in asked])
    by_item = Counter(g.item_id for g in generations)
    return AnswerShares(
        num_items=len(by_item),
        num_draws=max(by_item.values(), default=0),
        ended=clustered_share(spoken, groups, level=level),
        cut=clustered_share([not end for end in stopped], groups, level=level),
        empty=clustered_share([stop and not end for stop, end in zip(stopped, spoken, strict=True)], groups, level=level),
        loop=clustered_share([loops(g.text) for g in generations], groups, level=level),
        collapse=clustered_share([value == 1 for value in same], groups, level=level),
    )
