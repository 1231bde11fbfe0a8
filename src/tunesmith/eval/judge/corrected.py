"""Win rates corrected for a judge's errors, by the labels of the compared systems' own pairs.

Prediction-powered inference (Angelopoulos, Bates, Fannjiang, Jordan & Zrnic 2023, Science 382, "Prediction-powered inference";
with the weight λ of Angelopoulos, Duchi & Zrnic 2023, "PPI++", arXiv 2311.01453): the mean of people's labels y is estimated by

    λ · mean of the judge's verdicts f on pairs without a label  +  mean of (y − λ f) on pairs with one

for any λ without bias, so a judge that is wrong makes the interval wide and not the number false. λ is what makes it
shortest. Strata: where verdicts that depend on the order and those that do not were labelled at different rates, each kind is
estimated by itself and weighs what it is among all pairs (Fisch et al. 2024, "Stratified prediction-powered inference", arXiv
2406.04291).

Interval: Student's t on the influence of each cluster, because pairs with one prompt are one piece of evidence. Two residuals
are added to those seen, one up and one down: a judge that was right on a few labels is not known to be right always.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.eval.judge.rows import JudgedPair, clusters_of_pairs, points

__all__ = ["LEAST_LABELS", "LEAST_OF_A_STRATUM", "WinRate", "estimate", "predicted", "stratum", "win_rates"]

Floats = NDArray[np.float64]
LEAST_LABELS = 20
LEAST_OF_A_STRATUM = 10
_IMAGINED = 0.5  # the size of the two residuals that are added: chosen by simulation (benchmarks/bench_judges.py rates)


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRate:
    """How often the first of two systems is preferred, a tie counting half, with its 95 % interval.

    `uncorrected`: what the judge alone says; it is never shown without `value`. `people`: the mean of the labels alone, with
    its interval. `weight`: λ, how much the judge counts. None is not measured, and `why_not` says why.
    """

    system: str
    against: str
    value: float | None
    ci: tuple[float, float] | None
    labelled: int
    judged: int
    uncorrected: float | None = None
    people: float | None = None
    people_ci: tuple[float, float] | None = None
    weight: float | None = None
    why_not: str = ""

    def as_dict(self) -> dict[str, object]:
        """As the commands print it; what the judge alone says is left out where there is no corrected number."""
        found: dict[str, object] = {
            "system": self.system,
            "against": self.against,
            "value": self.value,
            "ci": None if self.ci is None else list(self.ci),
            "labelled": self.labelled,
            "judged": self.judged,
            "people": {"value": self.people, "ci": None if self.people_ci is None else list(self.people_ci)},
        }
        if self.value is not None:
            return found | {"uncorrected": self.uncorrected, "weight": self.weight}
        return found | {"why_not": self.why_not}


def win_rates(pairs: Sequence[JudgedPair]) -> list[WinRate]:
    """One for each two systems that the rows name, in order of appearance; of rows without names, `a` against `b`."""
    of: dict[tuple[str, str], list[tuple[JudgedPair, bool]]] = defaultdict(list)
    for pair in pairs:
        names = (pair.system_a or "a", pair.system_b or "b")
        if names[0] == names[1]:
            continue
        turned = (names[1], names[0]) in of
        of[(names[1], names[0]) if turned else names].append((pair, turned))
    return [_win_rate(names, rows) for names, rows in of.items()]


def _win_rate(names: tuple[str, str], rows: Sequence[tuple[JudgedPair, bool]]) -> WinRate:
    people = np.array([math.nan if pair.human is None else _of_first(points(pair.human), turned) for pair, turned in rows])
    judge = np.array([_of_first(predicted(pair), turned) for pair, turned in rows])
    pairs = [pair for pair, _ in rows]
    labelled, judged = int(np.isfinite(people).sum()), sum(pair.judge is not None for pair in pairs)
    if labelled < LEAST_LABELS:
        why_not = f"{labelled} labelled pairs of {names[0]} and {names[1]}: at least {LEAST_LABELS} are needed"
        return WinRate(
            system=names[0], against=names[1], value=None, ci=None, labelled=labelled, judged=judged, why_not=why_not
        )
    groups = clusters_of_pairs(pairs)
    value, ci, weight = estimate(people, judge, groups, [stratum(pair) for pair in pairs])
    known = np.isfinite(people)
    alone = [group for group, is_known in zip(groups, known, strict=True) if is_known]
    said, said_ci, _ = estimate(people[known], np.zeros(labelled), alone, [""] * labelled)
    return WinRate(
        system=names[0],
        against=names[1],
        value=value,
        ci=ci,
        labelled=labelled,
        judged=judged,
        uncorrected=float(judge.mean()) if judged else None,
        people=said,
        people_ci=said_ci,
        weight=weight,
    )


def stratum(pair: JudgedPair) -> str:
    """Whether the verdict depends on the order, as far as is known."""
    if not pair.has_swapped or pair.final is None:
        return "one order" if pair.judge else "no verdict"
    return "same" if pair.judge == pair.judge_swapped else "changed"


def estimate(
    people: Floats, judge: Floats, groups: Sequence[str], strata: Sequence[str]
) -> tuple[float, tuple[float, float], float]:
    """The corrected mean within 0 … 1, its 95 % interval, and λ. `people`: labels [n], not a number where there is none;
    `judge`: verdicts of the same pairs, any number where there is none; at least two pairs are labelled."""
    from scipy.special import stdtrit

    known = np.isfinite(people)
    kinds = np.array(strata)
    if any(_is_thin(known[kinds == kind]) for kind in np.unique(kinds)):
        kinds = np.full(len(kinds), "")
    names = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    cluster = np.array([names[group] for group in groups])
    influence = np.zeros(len(names))
    value = extra = 0.0
    weights = []
    for kind in np.unique(kinds):
        inside = kinds == kind
        share = float(inside.mean())
        have, lack = inside & known, inside & ~known
        n, others = int(have.sum()), int(lack.sum())
        weight = _weight(people[have], judge[have], judge[inside], n, others)
        residual = people[have] - weight * judge[have]
        mean = float(residual.mean())
        np.add.at(influence, cluster[have], share * (residual - mean) / n)
        value += share * mean
        if others:
            centre = float(judge[lack].mean())
            np.add.at(influence, cluster[lack], share * weight * (judge[lack] - centre) / others)
            value += share * weight * centre
        extra += (share / n) ** 2 * 2 * _IMAGINED**2
        weights.append(share * weight)
    labelled_clusters = len(np.unique(cluster[known]))
    freedom = max(1, labelled_clusters - len(weights))
    variance = labelled_clusters / freedom * float((influence**2).sum()) + extra
    arm = float(stdtrit(freedom, 0.975)) * math.sqrt(variance)
    value = min(1.0, max(0.0, value))
    return value, (max(0.0, value - arm), min(1.0, value + arm)), sum(weights)


def _is_thin(known: NDArray[np.bool_]) -> bool:
    """Whether a stratum has too few labels to be estimated by itself; one that is labelled as a whole has enough."""
    return int(known.sum()) < (2 if known.all() else LEAST_OF_A_STRATUM)


def _weight(people: Floats, judge: Floats, every: Floats, n: int, others: int) -> float:
    """The λ of the shortest interval, between 0 (the judge says nothing) and 1; 0 where there is nothing to predict."""
    variance = float(every.var())
    if not others or n < 2 or variance <= 1e-12:
        return 0.0
    shared = float(((people - people.mean()) * (judge - judge.mean())).sum() / (n - 1))
    return min(1.0, max(0.0, shared / variance / (1 + n / others)))


def _of_first(value: float, turned: bool) -> float:
    return 1 - value if turned else value


def predicted(pair: JudgedPair) -> float:
    """What the judge expects answer `a` to get: the mean verdict of all orders that were parsed; ½ if none was."""
    verdicts = [points(one) for one in (pair.judge, pair.judge_swapped) if one is not None]
    return sum(verdicts) / len(verdicts) if verdicts else 0.5
