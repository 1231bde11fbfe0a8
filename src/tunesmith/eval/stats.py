"""Honest statistics: means with intervals that know of documents, paired differences with exact tests.

Items from one document resemble each other, so documents (groups) are what is drawn, flipped and counted; the mean is
over items. Not computed is None, never zero. Same input and seed give the same numbers.

Interval of a mean: cluster bootstrap, bias-corrected and accelerated (BCa; Efron 1987, JASA 82; acceleration from the
jackknife over groups), then widened about the mean. Plain BCa is too short with few groups: it draws from the spread of
G groups as if G were large. Each arm is therefore stretched by t(ν) / z times the ratio of the unbiased to the plain
standard error (CR2; Bell & McCaffrey 2002; the degrees of freedom ν after Satterthwaite, as in Imbens & Kolesár 2016,
§ 3, in a working model in which the items of a document correlate 0.1). For groups of one size this is
√(G/(G−1)) · t(G−1) / z, the small-sample factor of Hesterberg 2015, "What Teachers Should Know about the Bootstrap",
§ 3.3, applied to the arms and not to the quantile, because with five groups the far quantiles of a bootstrap do not
exist. Measured coverage: tests/eval/test_eval_calibration.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Interval

__all__ = [
    "LEVEL",
    "Difference",
    "Summary",
    "detectable_effect",
    "holm",
    "paired",
    "summarise",
]

LEVEL = 0.95
_Z = 1.959963984540054
_WORKING_CORRELATION = 0.1
_SIMULATED = 40  # documents up to which the power of the verdict's rule is simulated
_CHUNK = 2_000_000  # cells of a resampling matrix held at once: 16 MB
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A metric over the items of one system. `n` scored items in `num_groups` documents; `unscored` items are in no figure.

    Everything but the counts is None if nothing was scored; `std` (n − 1) needs two items, `ci` (of the mean) two documents.
    """

    n: int
    unscored: int
    num_groups: int
    mean: float | None
    median: float | None
    std: float | None
    min: float | None
    max: float | None
    ci: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """b − a on the same items. `better` and `worse` count the items on which b is better or worse; the rest are ties.

    `p` is two-sided; `smallest_p` is the least that so few documents could give. `relative` is mean / |mean_a|.
    """

    n: int
    unscored: int
    num_groups: int
    mean_a: float | None
    mean_b: float | None
    mean: float | None
    ci: Interval | None
    p: float | None
    smallest_p: float | None
    better: int
    worse: int
    relative: float | None


def summarise(
    values: Sequence[float | None],
    groups: Sequence[str],
    *,
    draws: int = 10_000,
    seed: int = 7,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Summary:
    """Mean, spread and interval of one metric. `None` is an unscored item; `groups` names the document of each item.

    The interval is cut at `bounds`, the least and greatest value that the metric can take.
    Raises EvaluationError for not-a-number, infinity, unequal lengths or `draws` < 1.
    """
    scored, codes, unscored = _scored(values, groups, draws)
    if scored.size == 0:
        return Summary(n=0, unscored=unscored, num_groups=0, mean=None, median=None, std=None, min=None, max=None, ci=None)
    return Summary(
        n=scored.size,
        unscored=unscored,
        num_groups=int(codes.max()) + 1,
        mean=float(scored.mean()),
        median=float(np.median(scored)),
        std=float(scored.std(ddof=1)) if scored.size > 1 else None,
        min=float(scored.min()),
        max=float(scored.max()),
        ci=_within(_mean_interval(scored, codes, draws, seed), bounds),
    )


def paired(
    a: Sequence[float | None],
    b: Sequence[float | None],
    groups: Sequence[str],
    *,
    draws: int = 10_000,
    seed: int = 7,
    higher_is_better: bool = True,
) -> Difference:
    """The difference b − a on the same items in the same order, with interval and test clustered by document.

    Items that are unscored on either side are left out and counted. `p` is the two-sided sign-flip permutation test: under
    the null hypothesis a document's differences are as likely to have the other sign, all together. All 2^G patterns are
    counted if there are at most `draws`, else `draws` random ones with the +1 rule (Phipson & Smyth 2010).
    """
    if len(a) != len(b):
        raise _unequal(len(a), len(b), "scores of a and b")
    rows: list[float | None] = [None if x is None or y is None else y - x for x, y in zip(a, b, strict=True)]
    for side in (a, b):
        _scored(side, groups, draws)
    difference, codes, unscored = _scored(rows, groups, draws)
    if difference.size == 0:
        nothing = {"mean_a": None, "mean_b": None, "mean": None, "ci": None, "p": None, "smallest_p": None, "relative": None}
        return Difference(n=0, unscored=unscored, num_groups=0, better=0, worse=0, **nothing)
    num_groups = int(codes.max()) + 1
    kept_a = np.array([x for x, row in zip(a, rows, strict=True) if row is not None], dtype=np.float64)
    mean_a, mean = float(kept_a.mean()), float(difference.mean())
    gain = difference if higher_is_better else -difference
    p, smallest = _sign_flip(_group_sums(codes, difference), draws, seed)
    return Difference(
        n=difference.size,
        unscored=unscored,
        num_groups=num_groups,
        mean_a=mean_a,
        mean_b=mean_a + mean,
        mean=mean,
        ci=_mean_interval(difference, codes, draws, seed),
        p=p,
        smallest_p=smallest,
        better=int((gain > 0).sum()),
        worse=int((gain < 0).sum()),
        relative=mean / abs(mean_a) if mean_a != 0 else None,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for testing several at once (Holm 1979), in the order given: reject where the result is ≤ 0.05."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def detectable_effect(num_groups: int, power: float = 0.8, *, min_groups: int = 6) -> float | None:
    """Smallest mean difference that the verdict's own rule finds with `power` over `num_groups` documents of one size.

    In standard deviations of the per-document difference. The rule is both: sign-flip p ≤ 0.05 and a 95 % interval clear of
    zero. Up to 40 documents its power is simulated with seeded normal differences (a t test would promise too much: with six
    documents p ≤ 0.05 needs all six on one side); above, the two agree to 3 % and it is that of the paired t test (noncentral
    t; Cohen 1988, ch. 2). None below six documents, which cannot give p ≤ 0.05, and below `min_groups`.
    """
    if num_groups < max(6, min_groups):
        return None
    if num_groups <= _SIMULATED:
        return float(np.quantile(_needed_shifts(num_groups), power))
    return _t_test_effect(num_groups, power)


@cache
def _needed_shifts(num_groups: int) -> Floats:
    """Of simulated sets of differences of mean 0 and deviation 1, the least shift that brings each through the rule: [sets].

    Each set comes with its mirror image, which steadies the result. The interval moves with its data, so its ends say how far;
    p falls as the shift grows, so that one is found by halving.
    """
    sets, draws = 2000, 1000
    rng = np.random.default_rng([7, num_groups])
    half = rng.normal(size=(sets // 2, num_groups))
    noise = np.concatenate([half, -half])
    codes = np.arange(num_groups, dtype=np.intp)
    ends = [(i.low, i.high) for row in half if (i := _mean_interval(row, codes, draws, 7)) is not None]
    low_end, high_end = np.array(ends, dtype=np.float64).T
    by_interval = np.concatenate([-low_end, high_end])
    exact = 2**num_groups <= draws
    if exact:
        signs = 1.0 - 2.0 * (np.arange(2**num_groups)[:, None] >> np.arange(num_groups) & 1)
    else:
        signs = 1.0 - 2.0 * rng.integers(0, 2, (draws, num_groups))
    flipped, slope, total = signs @ noise.T, signs.sum(1)[:, None], noise.sum(1)  # [patterns, sets], [patterns, 1], [sets]
    low, high = -total / num_groups, np.full(sets, 20.0)
    for _ in range(25):
        shift = (low + high) / 2
        reached = (np.abs(flipped + slope * shift) >= np.abs(total + num_groups * shift) - 1e-9).sum(0)
        found = (reached + (not exact)) / (len(signs) + (not exact)) <= 1 - LEVEL
        low, high = np.where(found, low, shift), np.where(found, shift, high)
    needed: Floats = np.maximum(by_interval, high)
    needed.setflags(write=False)
    return needed


def _t_test_effect(num_groups: int, power: float) -> float:
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    freedom = num_groups - 1
    critical = float(t.ppf(0.5 + LEVEL / 2, freedom))

    def surplus(effect: float) -> float:  # the chance of a significant result on the wrong side is below 1e-9 here
        return float(nct.sf(critical, freedom, effect * math.sqrt(num_groups))) - power

    high = 1.0 / math.sqrt(num_groups)
    while surplus(high) < 0:
        high *= 1.5
    return float(brentq(surplus, 1e-9, high))


def _unequal(left: int, right: int, what: str) -> EvaluationError:
    return EvaluationError(
        f"{what} are not of one length",
        value=(left, right),
        expected="one entry for each item",
        hint="report this: tunesmith counted wrongly",
    )


def _scored(values: Sequence[float | None], groups: Sequence[str], draws: int) -> tuple[Floats, NDArray[np.intp], int]:
    """The scored values, a group number 0…G−1 for each (in order of first sight), and how many are unscored."""
    if len(values) != len(groups):
        raise _unequal(len(values), len(groups), "scores and groups")
    if draws < 1:
        raise EvaluationError("no draws, no interval", value=draws, expected="at least 1", hint="--set eval.draws=10000")
    kept = [(float(v), g) for v, g in zip(values, groups, strict=True) if v is not None]
    scored = np.array([v for v, _ in kept], dtype=np.float64)
    if not np.isfinite(scored).all():
        raise EvaluationError(
            "a score is not a finite number",
            value=[v for v in scored.tolist() if not math.isfinite(v)][:3],
            expected="finite numbers, or None for an item that could not be scored",
            hint="check whether the model diverged: tunesmith show RUN",
        )
    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(g, len(numbers)) for _, g in kept], dtype=np.intp)
    return scored, codes, len(values) - len(kept)


def _group_sums(codes: NDArray[np.intp], values: Floats) -> Floats:
    return np.bincount(codes, weights=values).astype(np.float64)


@lru_cache(maxsize=2)
def _counts(num_groups: int, rows: int, seed: int, chunk: int) -> Floats:
    """How often each group was drawn, in `rows` draws of `num_groups` groups: [rows, num_groups]. Shared by all metrics."""
    rng = np.random.default_rng([seed, num_groups, chunk])
    drawn = rng.integers(0, num_groups, (rows, num_groups), dtype=np.int32).astype(np.intp)
    drawn += np.arange(rows, dtype=np.intp)[:, None] * num_groups
    counts = np.bincount(drawn.ravel(), minlength=rows * num_groups).reshape(rows, num_groups).astype(np.float64)
    counts.setflags(write=False)
    return counts


def _chunks(num_groups: int, draws: int) -> Iterator[tuple[int, int]]:
    rows = max(1, _CHUNK // num_groups)
    for number, start in enumerate(range(0, draws, rows)):
        yield number, min(rows, draws - start)


def _mean_interval(values: Floats, codes: NDArray[np.intp], draws: int, seed: int) -> Interval | None:
    """The interval described at the top of this file; None below two groups."""
    sizes = np.bincount(codes).astype(np.float64)
    num_groups = sizes.size
    if num_groups < 2:
        return None
    mean = float(values.mean())
    spread = float(np.ptp(values))
    if spread <= 1e-12 * float(np.abs(values).max()):
        return Interval(low=mean, high=mean, level=LEVEL, method="all values are equal: no spread to estimate from")
    sums = _group_sums(codes, (values - mean) / spread)  # centred and scaled, so that no digits are lost and no cube underflows
    both = np.stack([sums, sizes], axis=1)  # [groups, 2]: one pass over the counts instead of two
    totals = np.concatenate([_counts(num_groups, rows, seed, i) @ both for i, rows in _chunks(num_groups, draws)])
    drawn = totals[:, 0] / totals[:, 1]
    left, right = np.quantile(drawn, _bca_levels(drawn, sums, sizes))
    stretch = _stretch(sums, sizes)
    reach = spread * stretch
    return Interval(
        low=mean + min(0.0, reach * float(left)),
        high=mean + max(0.0, reach * float(right)),
        level=LEVEL,
        method=f"cluster bootstrap (BCa, arms widened ×{stretch:.2f} for {num_groups} groups), {draws} draws, seed {seed}",
    )


def _within(interval: Interval | None, bounds: tuple[float, float]) -> Interval | None:
    if interval is None:
        return None
    return replace(interval, low=max(interval.low, bounds[0]), high=min(interval.high, bounds[1]))


def _bca_levels(drawn: Floats, sums: Floats, sizes: Floats) -> list[float]:
    """The two quantile levels of BCa, from bootstrap means less the mean and the groups' centred sums, both scaled alike."""
    from scipy.stats import norm

    tie = 1e-9 * float(np.abs(drawn).max())  # rounding must not decide on which side of the mean an equal draw lies
    below = ((drawn < -tie).mean() + 0.5 * (np.abs(drawn) <= tie).mean()).clip(
        1 / (drawn.size + 1), drawn.size / (drawn.size + 1)
    )
    bias = float(norm.ppf(below))
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    influence = left_out.mean() - left_out
    square = float((influence**2).sum())
    acceleration = float((influence**3).sum()) / (6 * square**1.5) if square > 0 else 0.0
    levels = []
    for z in (-_Z, _Z):
        shifted = bias + z
        levels.append(float(norm.cdf(bias + shifted / max(1 - acceleration * shifted, 1e-9))))
    return levels


def _stretch(sums: Floats, sizes: Floats) -> float:
    """t(ν)/z times the ratio of the unbiased (CR2) to the plain standard error of the mean; ≥ 1."""
    from scipy.stats import t

    weight = sizes / sizes.sum()
    variance = sizes * (1 + _WORKING_CORRELATION * (sizes - 1))
    variance = variance / variance.sum()
    scale = variance / (variance * (1 - 2 * weight) + weight**2)
    pull = scale * weight
    kept = float((scale * weight**2).sum())
    trace = float((variance * (scale - 2 * pull + kept)).sum())
    v0, v1, v2 = (float((variance * pull**k).sum()) for k in range(3))
    square = float((variance**2 * scale * (scale + 2 * (kept - 2 * pull))).sum())
    square += kept**2 * v0**2 + 2 * v0 * v2 + 2 * v1**2 - 4 * kept * v0 * v1
    spread = float((sums**2).sum())
    ratio = math.sqrt(float((scale * sums**2).sum()) / spread) if spread > 0 else 1.0
    return max(1.0, ratio * float(t.ppf(0.5 + LEVEL / 2, max(trace**2 / square, 1.0))) / _Z)


def _sign_flip(sums: Floats, draws: int, seed: int) -> tuple[float, float]:
    """p of the two-sided sign-flip test on the groups' sums of differences, and the smallest p that was possible."""
    num_groups = sums.size
    observed = abs(float(sums.sum())) - 1e-12 * float(np.abs(sums).sum())  # sums in another order differ in the last digit
    if num_groups < 63 and 2**num_groups <= draws:
        patterns = np.arange(2**num_groups, dtype=np.int64)[:, None] >> np.arange(num_groups) & 1
        totals = np.abs((1.0 - 2.0 * patterns) @ sums)
        return float((totals >= observed).mean()), 2.0 / 2**num_groups
    rng = np.random.default_rng([seed, num_groups])
    reached = 0
    for _, rows in _chunks(num_groups, draws):
        signs = 1.0 - 2.0 * rng.integers(0, 2, (rows, num_groups), dtype=np.int8)
        reached += int((np.abs(signs @ sums) >= observed).sum())
    return (reached + 1) / (draws + 1), max(1.0 / (draws + 1), 2.0 ** (1 - min(num_groups, 1000)))
