"""Simulated comparisons of two systems: people's labels on a few pairs, a judge's verdicts on all, and the true win rate.

Each simulation draws its own judge: accuracy 0.6 to 0.95, a bias towards one of the two systems of up to 0.8 of its errors, and
up to 30 % of verdicts that are drawn again in the other order. Prompts differ in how often the first system wins (Beta), and
have 1, 2 or 4 pairs. 50 to 300 labels, 300 to 3,000 pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith.eval.judge.corrected import estimate
from tunesmith.eval.judge.next_labels import next_labels
from tunesmith.eval.judge.rows import JudgedPair, Label

__all__ = ["Simulated", "simulate"]

_LABELS: dict[float, Label] = {1.0: "A", 0.0: "B", 0.5: "tie"}


@dataclass(frozen=True, slots=True)
class Simulated:
    """One simulation: whether the intervals cover the truth, and how wide they are."""

    accuracy: float
    labels: int
    covers: bool
    width: float
    people_width: float
    judge_covers: bool


def simulate(seed: int, *, active: bool = False) -> Simulated:
    """One calibration. `active`: a third of the labels is random, the others are chosen by `next_labels` in two rounds."""
    chance = np.random.default_rng([seed, 18])
    labels = int(chance.integers(50, 301))
    total = max(int(chance.choice([300, 500, 1000, 3000])), 2 * labels)
    accuracy, wins, ties = chance.uniform(0.6, 0.95), chance.uniform(0.25, 0.75), chance.uniform(0, 0.3)
    bias, changing = chance.uniform(-0.8, 0.8), chance.uniform(0, 0.3)
    each = int(chance.choice([1, 1, 2, 4]))
    prompts = -(-total // each)
    by_prompt = np.repeat(chance.beta(4 * wins, 4 * (1 - wins), prompts), each)[:total]
    truth_of = np.where(chance.random(total) < ties, 0.5, (chance.random(total) < by_prompt).astype(float))
    truth = 0.5 * ties + (1 - ties) * wins
    first = _verdicts(truth_of, accuracy, bias, chance)
    second = np.where(chance.random(total) < changing, _verdicts(truth_of, accuracy, bias, chance), first)
    groups = [str(number // each) for number in range(total)]
    strata = ["same" if one == other else "changed" for one, other in zip(first, second, strict=True)]
    people = np.full(total, np.nan)
    start = chance.choice(total, labels // 3 if active else labels, replace=False)
    people[start] = truth_of[start]
    for count in (labels // 3, labels - 2 * (labels // 3)) if active else ():
        chosen = next_labels(_pairs(people, first, second, groups), count, seed=seed)
        ids = [int(one.id) for one in chosen]
        people[ids] = truth_of[ids]
    judge = (first + second) / 2
    _, (low, high), _ = estimate(people, judge, groups, strata)
    known = np.isfinite(people)
    alone = [group for group, is_known in zip(groups, known, strict=True) if is_known]
    _, people_range, _ = estimate(people[known], np.zeros(known.sum()), alone, [""] * len(alone))
    _, judge_range, _ = estimate(judge, np.zeros(total), groups, [""] * total)
    return Simulated(
        accuracy=float(accuracy),
        labels=labels,
        covers=bool(low <= truth <= high),
        width=high - low,
        people_width=people_range[1] - people_range[0],
        judge_covers=bool(judge_range[0] <= truth <= judge_range[1]),
    )


def _verdicts(truth: Any, accuracy: float, bias: float, chance: Any) -> Any:
    """Wrong with probability 1 − accuracy on average; more often where the one system is right, if there is a bias."""
    error = np.clip((1 - accuracy) * (1 + bias * np.sign(truth - 0.5)), 0, 1)
    other = np.where(chance.random(truth.size) < 0.6, 1 - truth, 0.5)
    of_ties = np.where(chance.random(truth.size) < 0.5 + bias / 2, 0.0, 1.0)
    return np.where(chance.random(truth.size) < error, np.where(truth == 0.5, of_ties, other), truth)


def _pairs(people: Any, first: Any, second: Any, groups: list[str]) -> list[JudgedPair]:
    return [
        JudgedPair(
            id=str(number),
            prompt=groups[number],
            a="",
            b="",
            human=_LABELS.get(float(people[number])),
            judge=_LABELS[float(first[number])],
            judge_swapped=_LABELS[float(second[number])],
            has_judge=True,
            has_swapped=True,
        )
        for number in range(len(people))
    ]
