"""Calibration: a judge's verdicts on pairs that people labelled, and whether it may decide in their place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import mean

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.judge.biases import (
    Measured,
    changed_on_swap,
    family_preference,
    length_preference,
    position_preference,
    retest,
)
from tunesmith.eval.judge.corrected import WinRate, win_rates
from tunesmith.eval.judge.kappa import Kappa, kappa
from tunesmith.eval.judge.next_labels import NextLabel, next_labels
from tunesmith.eval.judge.precision import LearningCurve, learning_curve
from tunesmith.eval.judge.rows import LABELS, JudgedPair, clusters_of_pairs, prompt_of
from tunesmith.eval.stats import summarise

__all__ = ["LEAST_KAPPA", "MOST_REVERSED", "OF_THE_CEILING", "Calibration", "calibrate_pairs"]

LEAST_KAPPA, OF_THE_CEILING, MOST_REVERSED = 0.4, 0.8, 0.10
NEXT = 20
_UNPARSED = "unparsed"
_PLACES = " (judge_swapped must name the answer of the row; if the file names the place in which it was shown: first or second)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What is known of a judge from `n` labelled pairs of `prompts` prompts. None is not measured.

    `kappa`: the verdicts of the first order against people; `kappa_both_orders`: those that count, a tie where the two orders
    disagree. `kappa_decided`: pairs in which neither is a tie. `ceiling`: people among themselves, the mean over pairs of
    annotators. `confusion`: people's label, then the judge's. `unparsed`: verdicts of the first order that are none;
    `swapped_missing`: those of the other order, of all pairs. `by_point`: changed, reversed, and preference for the answer
    shown first, on each point of the rubric. `win_rates`: corrected for the judge's errors, of all pairs. `next_labels`:
    pairs without a label that would help most. `why`: each reason that decides `may_gate`, in words.
    """

    n: int
    prompts: int
    agreement: Measured
    kappa: Kappa
    kappa_both_orders: Kappa
    kappa_decided: Kappa
    ceiling: Kappa
    confusion: dict[str, dict[str, int]]
    changed: Measured
    reversed: Measured
    position_preference: Measured
    length_preference: Measured
    family_preference: Measured
    retest: Measured
    unparsed: int
    swapped_missing: int
    by_point: dict[str, tuple[Measured, Measured, Measured]]
    learning: LearningCurve
    win_rates: tuple[WinRate, ...]
    next_labels: tuple[NextLabel, ...]
    may_gate: bool
    why: tuple[str, ...]


def calibrate_pairs(pairs: Sequence[JudgedPair], *, family: Collection[str] = (), faults: Sequence[str] = ()) -> Calibration:
    """Compare a judge with people on the labelled ones of `pairs`; changes on swap are measured on all of them.

    `family`: names of systems that are of the judge's own family. `faults`: reasons known beforehand why it may not decide,
    such as a model that changed under way.

    EvaluationError if no pair is labelled, or none is judged.
    """
    labelled = [pair for pair in pairs if pair.human]
    if not labelled or not any(pair.has_judge for pair in labelled):
        missing = "human label" if not labelled else "verdict of a judge"
        raise EvaluationError(
            f"no pair has a {missing}",
            value=f"{len(pairs)} pairs",
            expected="human (A, B or tie) or annotators, and judge, in the same rows",
            hint="label pairs first, or let a judge answer: tunesmith judge calibrate FILE.jsonl --judge URL --model NAME",
        )
    judged = [pair for pair in labelled if pair.judge]
    both = [pair for pair in labelled if pair.final]
    found = _against_people(judged)
    of_both = _against_people(both, final=True)
    ceiling = _ceiling(labelled)
    swapped_missing = sum(pair.judge is not None and pair.judge_swapped is None for pair in pairs)
    reversed_ = changed_on_swap(pairs, reversed_only=True)
    whole = _with_unparsed(labelled)
    why = _why(whole, of_both, ceiling, reversed_, swapped_missing, faults)
    decided = [pair for pair in judged if "tie" not in (pair.human, pair.judge)]
    return Calibration(
        n=len(labelled),
        prompts=len({prompt_of(pair) for pair in labelled}),
        agreement=_agreement(judged),
        kappa=found,
        kappa_both_orders=of_both,
        kappa_decided=_against_people(decided),
        ceiling=ceiling,
        confusion={one: {other: _met(judged, one, other) for other in LABELS} for one in LABELS},
        changed=changed_on_swap(pairs),
        reversed=reversed_,
        position_preference=position_preference(pairs),
        length_preference=length_preference(labelled),
        family_preference=family_preference(labelled, family),
        retest=retest(pairs),
        unparsed=len(labelled) - len(judged),
        swapped_missing=swapped_missing,
        by_point=_by_point(pairs),
        learning=learning_curve(judged),
        win_rates=tuple(win_rates(pairs)),
        next_labels=tuple(next_labels(pairs, NEXT)),
        may_gate=not why,
        why=why or (_passed(found, ceiling, reversed_),),
    )


def _against_people(pairs: Sequence[JudgedPair], *, final: bool = False) -> Kappa:
    people = [str(pair.human) for pair in pairs]
    return kappa(people, [str(pair.final if final else pair.judge) for pair in pairs], clusters_of_pairs(pairs))


def _with_unparsed(labelled: Sequence[JudgedPair]) -> Kappa:
    """κ in which a verdict that is none is a label of its own, so that it never agrees."""
    people = [str(pair.human) for pair in labelled]
    return kappa(people, [pair.judge or _UNPARSED for pair in labelled], clusters_of_pairs(labelled))


def _agreement(judged: Sequence[JudgedPair]) -> Measured:
    if not judged:
        return Measured(value=None, ci=None, n=0, why_not="no verdict was parsed")
    same = [float(pair.human == pair.judge) for pair in judged]
    found = summarise(same, clusters_of_pairs(judged), draws=2_000, bounds=(0.0, 1.0), weighting="items")
    ci = None if found.ci is None else (found.ci.low, found.ci.high)
    return Measured(value=found.mean, ci=ci, n=len(judged), why_not=found.no_interval or "")


def _ceiling(labelled: Sequence[JudgedPair]) -> Kappa:
    """The mean κ of all pairs of annotators, by their place in the list; of one pair of them with its interval."""
    most = max(len(pair.annotators) for pair in labelled)
    found = []
    for one, other in combinations(range(most), 2):
        shared = [pair for pair in labelled if len(pair.annotators) > other and pair.annotators[one] and pair.annotators[other]]
        left, right = ([str(pair.annotators[at]) for pair in shared] for at in (one, other))
        found.append(kappa(left, right, clusters_of_pairs(shared), draws=2_000))
    known = [one for one in found if one.value is not None]
    if not known:
        reason = found[0].why_not if found else "each pair has one label"
        return Kappa(value=None, ci=None, n=0, num_groups=0, why_not=reason)
    ranges = [one.ci for one in known if one.ci]
    return Kappa(
        value=mean(one.value for one in known if one.value is not None),
        ci=(mean(low for low, _ in ranges), mean(high for _, high in ranges)) if ranges else None,
        n=max(one.n for one in known),
        num_groups=max(one.num_groups for one in known),
    )


def _by_point(pairs: Sequence[JudgedPair]) -> dict[str, tuple[Measured, Measured, Measured]]:
    found = {}
    for name in dict.fromkeys(name for pair in pairs for name in pair.points):
        of = [
            replace(pair, judge=pair.points[name][0], judge_swapped=pair.points[name][1])
            for pair in pairs
            if name in pair.points
        ]
        found[name] = (changed_on_swap(of), changed_on_swap(of, reversed_only=True), position_preference(of))
    return found


def _met(judged: Sequence[JudgedPair], human: str, judge: str) -> int:
    return sum(pair.human == human and pair.judge == judge for pair in judged)


def _why(
    whole: Kappa, of_both: Kappa, ceiling: Kappa, reversed_: Measured, swapped_missing: int, faults: Sequence[str]
) -> tuple[str, ...]:
    """Every reason against it; empty if there is none."""
    reasons = list(faults)
    lows = [one.ci[0] for one in (whole, of_both) if one.ci is not None]
    if whole.ci is None or whole.value is None:
        reasons.append(f"the agreement with people is not measured: {whole.why_not}")
    elif min(lows) < LEAST_KAPPA:
        reasons.append(f"the lower end of κ is {min(lows):.2f}, below {LEAST_KAPPA:g}")
    if lows and ceiling.value is not None and min(lows) < OF_THE_CEILING * ceiling.value:
        limit = OF_THE_CEILING * ceiling.value
        reasons.append(
            f"the lower end of κ is {min(lows):.2f}, below {limit:.2f}, which is {OF_THE_CEILING:g} of what people reach"
            f" among themselves ({ceiling.value:.2f})"
        )
    if reversed_.value is None:
        reasons.append(f"reversals are not measured: {reversed_.why_not}")
    elif reversed_.value > MOST_REVERSED:
        share = f"{100 * reversed_.value:.1f} % of verdicts are reversed by the order, more than {100 * MOST_REVERSED:g} %"
        reasons.append(share + (_PLACES if reversed_.value > 0.5 else ""))
    if swapped_missing and reversed_.value is not None:
        many = f"{swapped_missing} pairs have" if swapped_missing > 1 else "1 pair has"
        reasons.append(f"{many} no verdict in the swapped order")
    return tuple(reasons)


def _passed(found: Kappa, ceiling: Kappa, reversed_: Measured) -> str:
    low = found.ci[0] if found.ci else 0.0
    text = f"κ is at least {low:.2f}, {100 * (reversed_.value or 0):.1f} % of verdicts are reversed by the order"
    if ceiling.value is None:
        return f"{text}; not compared with people's agreement among themselves, because {ceiling.why_not}"
    return f"{text}, and people reach {ceiling.value:.2f} among themselves"
