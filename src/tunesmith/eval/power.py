"""The smallest effect that the verdict's own rule detects, by simulation of that rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tunesmith.eval.document_means import Floats, interval_arms, random_signs, t_test_arms

__all__ = ["detectable_effect", "t_test_effect"]

_SIMULATED = 200  # documents up to which the rule is simulated
_SETS, _DRAWS, _SEED = 2000, 1000, 7
_WORKING_CORRELATION = 0.2  # of the items of a document, where only the sizes of documents are known


def detectable_effect(
    num_groups: int,
    power: float = 0.8,
    *,
    min_groups: int = 6,
    sizes: Sequence[int] | None = None,
    level: float = 0.95,
) -> float | None:
    """Smallest mean difference that the rule of the primary gate finds with `power` over `num_groups` documents.

    In standard deviations of the per-document difference. The rule is both: p ≤ 1 − level, and the interval clear of the
    margin. Up to 200 documents its power is simulated with seeded normal differences (a t test would promise too much: with six
    documents p ≤ 0.05 needs all six on one side); above, it is that of the paired t test (noncentral t; Cohen 1988, ch. 2),
    which differs by less than one point. `sizes`: the items of each document; the mean of a short document varies more. None
    below the number of documents that can give p ≤ 1 − level (six at 0.95), and below `min_groups`.
    """
    if num_groups < max(2, min_groups) or 2.0 ** (1 - num_groups) > 1 - level:
        return None
    if num_groups > _SIMULATED:
        return t_test_effect(num_groups, power, level)
    return float(np.quantile(_needed_shifts(num_groups, level, None if sizes is None else tuple(sorted(sizes))), power))


@lru_cache(maxsize=64)
def _needed_shifts(num_groups: int, level: float, sizes: tuple[int, ...] | None) -> Floats:
    """Of simulated sets of differences of mean 0 and deviation 1, the least shift that brings each through the rule: [sets].

    Each set comes with its mirror image, which steadies the result. Interval and t test move with their data, so their arms say
    how far; the p of the sign-flip test falls as the shift grows, so that one is found by halving.
    """
    rng = np.random.default_rng([_SEED, num_groups])
    half_GS = rng.normal(size=(_SETS // 2, num_groups)).T * _scales(num_groups, sizes)[:, None]
    noise_GS = np.concatenate([half_GS, -half_GS], axis=1)
    middle = half_GS.mean(0)
    arms = zip(interval_arms(half_GS, level=level, draws=_DRAWS, seed=_SEED), t_test_arms(half_GS, level=level), strict=True)
    below, above = (np.maximum(*both) for both in arms)
    by_arms = np.concatenate([below - middle, above + middle])
    signs, exact = random_signs(num_groups, draws=_DRAWS, seed=_SEED)
    flipped, slope, total = signs @ noise_GS, signs.sum(1)[:, None], noise_GS.sum(0)  # [patterns, sets], [patterns, 1], [sets]
    low, high = -total / num_groups, np.full(_SETS, 20.0)
    for _ in range(20):  # to 2e-5
        shift = (low + high) / 2
        reached = (np.abs(flipped + slope * shift) >= np.abs(total + num_groups * shift) - 1e-9).sum(0)
        found = (reached + (not exact)) / (len(signs) + (not exact)) <= 1 - level
        low, high = np.where(found, low, shift), np.where(found, shift, high)
    needed: Floats = np.maximum(by_arms, high)
    needed.setflags(write=False)
    return needed


def _scales(num_groups: int, sizes: tuple[int, ...] | None) -> Floats:
    """The standard deviation of each document's mean difference; their mean square is 1."""
    if sizes is None:
        return np.ones(num_groups)
    variance = _WORKING_CORRELATION + (1 - _WORKING_CORRELATION) / np.array(sizes, dtype=np.float64)
    scales: Floats = np.sqrt(variance / variance.mean())
    return scales


def t_test_effect(num_groups: int, power: float, level: float) -> float:
    """Smallest effect that the two-sided paired t test finds with `power`, in standard deviations (Cohen 1988, ch. 2)."""
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    freedom = num_groups - 1
    critical = float(t.ppf(0.5 + level / 2, freedom))

    def surplus(effect: float) -> float:  # the chance of a significant result on the wrong side is below 1e-9 here
        return float(nct.sf(critical, freedom, effect * math.sqrt(num_groups))) - power

    high = 1.0 / math.sqrt(num_groups)
    while surplus(high) < 0:
        high *= 1.5
    return float(brentq(surplus, 1e-9, high))
