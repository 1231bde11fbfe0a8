"""What a judge goes by other than the answers: order, length, its own family, and chance.

An excess is measured against people on the same pairs: a judge that prefers longer answers as often as people do is not biased.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tunesmith.eval.judge.rows import JudgedPair, Label, clusters_of_pairs, points
from tunesmith.eval.stats import paired, summarise

__all__ = [
    "Measured",
    "changed_on_swap",
    "family_of",
    "family_preference",
    "length_preference",
    "position_preference",
    "retest",
]

_EVERY = 2_000  # draws of the bootstrap of each diagnosis


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A figure over `n` pairs, with its 95 % interval clustered by prompt; None where `why_not` says what is missing."""

    value: float | None
    ci: tuple[float, float] | None
    n: int
    why_not: str = ""

    def as_dict(self) -> dict[str, object]:
        """`value`, `ci` and `n`, and the reason where one of them is not measured."""
        found: dict[str, object] = {"value": self.value, "ci": None if self.ci is None else list(self.ci), "n": self.n}
        return found | ({"why_not": self.why_not} if self.why_not else {})


def changed_on_swap(pairs: Sequence[JudgedPair], *, reversed_only: bool = False) -> Measured:
    """The share of pairs whose verdict is another one if the answers are shown in the other order.

    `reversed_only`: counts only those in which the other answer is then preferred, not those in which one verdict is a tie.
    """
    both = [pair for pair in pairs if pair.judge and pair.judge_swapped]
    moved = [
        pair.judge != pair.judge_swapped and not (reversed_only and "tie" in (pair.judge, pair.judge_swapped)) for pair in both
    ]
    return _mean([float(one) for one in moved], both, (0.0, 1.0), "no pair has a verdict in both orders")


def position_preference(pairs: Sequence[JudgedPair]) -> Measured:
    """How much more often the answer shown first is preferred than the other one, over both orders; 0 for a fair judge."""
    both = [pair for pair in pairs if pair.judge and pair.judge_swapped]
    first = [points(_known(pair.judge)) - points(_known(pair.judge_swapped)) for pair in both]
    return _mean(first, both, (-1.0, 1.0), "no pair has a verdict in both orders")


def length_preference(pairs: Sequence[JudgedPair]) -> Measured:
    """How much more often than people the judge prefers the longer answer (in characters); a tie counts half."""
    different = [pair for pair in pairs if len(pair.a) != len(pair.b)]
    return _excess(different, lambda pair: len(pair.a) > len(pair.b), "no labelled pair has answers of two lengths")


def family_of(name: str) -> str:
    """The family in the name of a model: its first word, so `org/Llama-3-8B` is of `llama`."""
    found = re.match(r"[a-z]+", name.rpartition("/")[2].casefold())
    return found.group() if found else ""


def family_preference(pairs: Sequence[JudgedPair], family: Collection[str]) -> Measured:
    """How much more often the judge prefers answers of its own `family` than people do, on pairs with one of its systems."""
    own = [pair for pair in pairs if (pair.system_a in family) != (pair.system_b in family)]
    reason = "the rows do not name systems of the judge's family" if not own else "no labelled pair has one of them"
    return _excess(own, lambda pair: pair.system_a in family, reason)


def retest(pairs: Sequence[JudgedPair]) -> Measured:
    """The share of pairs that get the same verdict if the same request is made again."""
    both = [pair for pair in pairs if pair.judge and pair.judge_again]
    same = [float(pair.judge == pair.judge_again) for pair in both]
    return _mean(same, both, (0.0, 1.0), "no pair has a verdict when asked again")


def _excess(pairs: Sequence[JudgedPair], a_is_meant: Callable[[JudgedPair], bool], missing: str) -> Measured:
    kept = [pair for pair in pairs if pair.human and pair.judge]
    if not kept:
        why_not = "no verdict on them was parsed" if any(pair.human for pair in pairs) else missing
        return Measured(value=None, ci=None, n=0, why_not=why_not)
    people = [_to_the(pair, _known(pair.human), a_is_meant) for pair in kept]
    judged = [_in_all_orders(pair, a_is_meant) for pair in kept]
    groups = clusters_of_pairs(kept)
    found = paired(people, judged, groups, draws=_EVERY, bounds=(0.0, 1.0), weighting="items")
    ci = None if found.ci is None else (found.ci.low, found.ci.high)
    return Measured(value=found.mean, ci=ci, n=len(kept), why_not=found.no_interval or "")


def _in_all_orders(pair: JudgedPair, a_is_meant: Callable[[JudgedPair], bool]) -> float:
    verdicts = [one for one in (pair.judge, pair.judge_swapped) if one is not None]
    return sum(_to_the(pair, one, a_is_meant) for one in verdicts) / len(verdicts)


def _to_the(pair: JudgedPair, label: Label, a_is_meant: Callable[[JudgedPair], bool]) -> float:
    return points(label) if a_is_meant(pair) else 1 - points(label)


def _mean(values: Sequence[float], pairs: Sequence[JudgedPair], bounds: tuple[float, float], missing: str) -> Measured:
    if not values:
        return Measured(value=None, ci=None, n=0, why_not=missing)
    found = summarise(values, clusters_of_pairs(pairs), draws=_EVERY, bounds=bounds, weighting="items")
    ci = None if found.ci is None else (found.ci.low, found.ci.high)
    return Measured(value=found.mean, ci=ci, n=len(values), why_not=found.no_interval or "")


def _known(label: Label | None) -> Label:
    if label is None:
        raise AssertionError("only pairs with this label get here")
    return label
