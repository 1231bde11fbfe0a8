"""Intervals and tests for a mean over documents, from one value per document: rows are documents, columns are metrics.

Interval: the wider, on each side, of two.

1. Cluster bootstrap, bias-corrected and accelerated (BCa; Efron 1987, JASA 82), both arms stretched by √(G/(G−1)) · t(G−1) / z,
   the small-sample factor of Hesterberg 2015, "What Teachers Should Know about the Bootstrap", § 3.3. The factor is applied to
   the arms and not to the quantile, because with few documents the far quantiles of a bootstrap do not exist.
2. Student's t, adjusted for skewness by Hall's transformation (1992, JRSS B 54, "On the removal of skewness by
   transformation") with 1.5 times the skewness of the sample: a small sample of a skewed distribution shows too little of it.
   An arm is never made shorter than that of Student's t, and at most twice as long, because near a critical skewness the
   transformation gives arms without meaning.

   For a metric with finite bounds such an arm is at most that of a bound for any distribution within them (Gaffke 2005,
   "Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable"): a Bayesian bootstrap
   of the documents and of one more that has the worst possible value.

p: the larger of two. The sign-flip permutation test is exact if differences are symmetric. If most documents gain a little and
few lose much, it calls equally good systems different in up to one case of six; the second is therefore the t test with twice
the skewness of the sample and no limit to its arms (or, if smaller, the p that belongs to the bound). Why these factors, and
what remains: docs/concepts/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "UNBOUNDED",
    "Bounds",
    "Floats",
    "bounded_p",
    "drawn_counts",
    "interval_arms",
    "is_constant",
    "p_values",
    "random_signs",
    "sign_flip",
    "skewness",
    "t_test",
    "t_test_arms",
]

Floats = NDArray[np.float64]
Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-math.inf, math.inf)
_INTERVAL_FACTOR, _TEST_FACTOR, _LONGEST = 1.5, 2.0, 2.0  # chosen by simulation: docs/concepts/statistics.md
_CHUNK = 2_000_000  # cells of a resampling matrix handled at once: 16 MB as floats


def is_constant(values_G: Floats) -> bool:
    """Whether all documents have the same value, up to rounding: there is no spread to estimate an interval from."""
    return float(np.ptp(values_G)) <= 1e-12 * float(np.abs(values_G).max())


def interval_arms(
    values_GM: Floats, *, level: float, draws: int, seed: int, freedom: float | None = None, bounds: Bounds = UNBOUNDED
) -> tuple[Floats, Floats]:
    """How far the interval of each column's mean reaches below and above it: two arrays [M], ≥ 0.

    At least two documents. `freedom`: degrees of freedom, G − 1 unless documents weigh unequally. `bounds`: the least and the
    greatest value that a document can have.
    """
    spread = np.ptp(values_GM, axis=0)
    scale = np.where(spread > 0, spread, 1.0)  # so that no digits are lost and no cube underflows
    centred = (values_GM - values_GM.mean(0)) / scale
    freedom = len(values_GM) - 1.0 if freedom is None else freedom
    skewed = _skewed_t_arms(centred, level, freedom, factor=_INTERVAL_FACTOR, longest=_LONGEST)
    if all(math.isfinite(bound) for bound in bounds):
        plain = _skewed_t_arms(centred, level, freedom, factor=0.0, longest=1.0)
        limits = _bounded_arms(values_GM, bounds, level, draws, seed)
        skewed = (
            np.maximum(plain[0], np.minimum(skewed[0], limits[0] / scale)),
            np.maximum(plain[1], np.minimum(skewed[1], limits[1] / scale)),
        )
    drawn = _bootstrap_arms(centred, level, draws, seed, freedom)
    return scale * np.maximum(skewed[0], drawn[0]), scale * np.maximum(skewed[1], drawn[1])


def skewness(values_GM: Floats) -> Floats:
    """Adjusted Fisher–Pearson skewness of each column (G₁ of Joanes & Gill 1998); 0 below three documents or without spread."""
    num_groups = len(values_GM)
    spread = np.ptp(values_GM, axis=0)
    centred = (values_GM - values_GM.mean(0)) / np.where(spread > 0, spread, 1.0)
    square = (centred**2).mean(0)
    if num_groups < 3:
        return np.zeros_like(square)
    plain = np.divide((centred**3).mean(0), square**1.5, out=np.zeros_like(square), where=square > 0)
    found: Floats = plain * math.sqrt(num_groups * (num_groups - 1)) / (num_groups - 2)
    return found


def p_values(values_GM: Floats, null: float, *, draws: int, seed: int, bounds: Bounds = UNBOUNDED) -> Floats:
    """Two-sided p, for each column, that its mean is `null`; every document counts as one."""
    flipped, _ = sign_flip(values_GM - null, draws=draws, seed=seed)
    skewed = t_test(values_GM.mean(0) - null, values_GM)
    if all(math.isfinite(bound) for bound in bounds):
        skewed = np.minimum(skewed, bounded_p(values_GM, null, bounds, draws=draws, seed=seed))
    return np.maximum(flipped, skewed)


def bounded_p(values_GM: Floats, null: float, bounds: Bounds, *, draws: int, seed: int) -> Floats:
    """Two-sided p, for each column, that its mean is `null`, for any distribution within `bounds` (Gaffke 2005)."""
    lower, upper = _with_a_worst_document(values_GM, bounds, draws, seed)
    least = np.minimum((lower <= null).sum(0), (upper >= null).sum(0))
    p: Floats = np.minimum(1.0, 2 * (least + 1) / (draws + 1))
    return p


def t_test(estimate_M: Floats, values_GM: Floats, *, freedom: float | None = None) -> Floats:
    """Two-sided p, for each column, that the true value behind `estimate` is 0: Student's t, adjusted for skewness [M].

    `values` gives standard error and skewness. p ≤ 1 − level exactly where 0 lies beyond the arms of `t_test_arms`.
    """
    from scipy.special import stdtr

    error = values_GM.std(0, ddof=1) / math.sqrt(len(values_GM))
    certain = np.where(estimate_M == 0, 0.0, np.copysign(np.inf, estimate_M))
    statistic = np.divide(estimate_M, error, out=certain, where=error > 0)
    k = _bend(values_GM, _TEST_FACTOR)
    bent = np.where(k == 0, 1.0, k)
    with np.errstate(over="ignore", invalid="ignore"):
        adjusted = np.where(k == 0, statistic, ((1 + bent * statistic / 3) ** 3 - 1) / bent + bent / 6)
    least = np.minimum(np.abs(statistic), np.sign(statistic) * adjusted)
    p: Floats = np.minimum(1.0, 2 * stdtr(len(values_GM) - 1.0 if freedom is None else freedom, -least))
    return p


def t_test_arms(values_GM: Floats, *, level: float) -> tuple[Floats, Floats]:
    """How far 0 must be below and above the mean of each column for `t_test` to give p ≤ 1 − level: two arrays [M]."""
    return _skewed_t_arms(values_GM, level, len(values_GM) - 1.0, factor=_TEST_FACTOR, longest=math.inf)


def sign_flip(values_GM: Floats, *, draws: int, seed: int) -> tuple[Floats, float]:
    """p, for each column, of the two-sided sign-flip permutation test that the mean is 0, and the least p that was possible.

    Under the null hypothesis a document's value is as likely to have the other sign. All 2^G patterns are counted if there are
    at most `draws`, else `draws` random ones with the +1 rule (Phipson & Smyth 2010).
    """
    num_groups = len(values_GM)
    largest = np.abs(values_GM).max(0)
    scaled = values_GM / np.where(largest > 0, largest, 1.0)
    observed = np.abs(scaled.sum(0)) - 1e-12 * np.abs(scaled).sum(0)  # sums in another order differ in the last digit
    reached = np.zeros(values_GM.shape[1], dtype=np.int64)
    if _enumerated(num_groups, draws):
        reached += (np.abs(_all_signs(num_groups) @ scaled) >= observed).sum(0)
        return reached / 2**num_groups, 2.0 / 2**num_groups
    for number, rows in _chunks(num_groups, draws):
        signs = _signs(num_groups, rows, seed, number).astype(np.float64)
        reached += (np.abs(signs @ scaled) >= observed).sum(0)
    return (reached + 1) / (draws + 1), max(1.0 / (draws + 1), 2.0 ** (1 - min(num_groups, 1000)))


def drawn_counts(num_groups: int, *, draws: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """How often each of the groups is drawn, [rows, G], in parts of `draws` rows in all: the cluster bootstrap's resamples."""
    for number, rows in _chunks(num_groups, draws):
        yield _counts(num_groups, rows, seed, number)


def random_signs(num_groups: int, *, draws: int, seed: int) -> tuple[Floats, bool]:
    """The patterns of signs that `sign_flip` uses, [patterns, G], and whether they are all that exist."""
    if _enumerated(num_groups, draws):
        return _all_signs(num_groups), True
    return np.concatenate([_signs(num_groups, rows, seed, number) for number, rows in _chunks(num_groups, draws)]) * 1.0, False


def _enumerated(num_groups: int, draws: int) -> bool:
    return num_groups < 63 and 2**num_groups <= draws


def _bend(values_GM: Floats, factor: float) -> Floats:
    """The k of Hall's transformation t + k t²/3 + k² t³/27 + k/6: skewness over √G, times the factor; tiny ones are 0."""
    k = factor * skewness(values_GM) / math.sqrt(len(values_GM))
    found: Floats = np.where(np.abs(k) < 1e-6, 0.0, k)
    return found


def _skewed_t_arms(values_GM: Floats, level: float, freedom: float, *, factor: float, longest: float) -> tuple[Floats, Floats]:
    """Arms at whose ends the transformed t is the quantile of Student's; between its own and `longest` times that."""
    from scipy.special import stdtrit

    quantile = float(stdtrit(freedom, 0.5 + level / 2))
    error = values_GM.std(0, ddof=1) / math.sqrt(len(values_GM))
    k = _bend(values_GM, factor)
    bent = np.where(k == 0, 1.0, k)
    below, above = (
        np.where(k == 0, quantile, side * (np.cbrt(1 + bent * (side * quantile - bent / 6)) - 1) * 3 / bent) for side in (1, -1)
    )
    most = longest * quantile
    return error * np.clip(below, quantile, most), error * np.clip(above, quantile, most)


def _bounded_arms(values_GM: Floats, bounds: Bounds, level: float, draws: int, seed: int) -> tuple[Floats, Floats]:
    mean, tail = values_GM.mean(0), (1 - level) / 2
    lower, upper = _with_a_worst_document(values_GM, bounds, draws, seed)
    return mean - np.quantile(lower, tail, axis=0), np.quantile(upper, 1 - tail, axis=0) - mean


def _with_a_worst_document(values_GM: Floats, bounds: Bounds, draws: int, seed: int) -> tuple[Floats, Floats]:
    """Means with random (Dirichlet) weights of the documents and one more, at the lower and at the upper bound: [draws, M]."""
    num_groups = len(values_GM)
    lower, upper = [], []
    for number, rows in _chunks(num_groups + 1, draws):
        weights = _weights(num_groups + 1, rows, seed, number)
        seen, unseen = weights[:, 1:] @ values_GM, weights[:, :1].astype(np.float64)
        lower.append(seen + unseen * bounds[0])
        upper.append(seen + unseen * bounds[1])
    return np.concatenate(lower), np.concatenate(upper)


def _bootstrap_arms(centred_GM: Floats, level: float, draws: int, seed: int, freedom: float) -> tuple[Floats, Floats]:
    from scipy.special import ndtri, stdtrit

    num_groups = len(centred_GM)
    drawn = np.concatenate(
        [_counts(num_groups, rows, seed, number).astype(np.float64) @ centred_GM for number, rows in _chunks(num_groups, draws)]
    )
    drawn /= num_groups
    drawn.sort(axis=0)
    z = float(ndtri(0.5 + level / 2))
    low, high = (_quantiles(drawn, at) for at in _bca_levels(drawn, centred_GM, z))
    stretch = math.sqrt(num_groups / (num_groups - 1)) * float(stdtrit(freedom, 0.5 + level / 2)) / z
    return stretch * np.maximum(0.0, -low), stretch * np.maximum(0.0, high)


def _bca_levels(drawn: Floats, centred_GM: Floats, z: float) -> list[Floats]:
    """The two quantile levels of BCa for each column, from sorted bootstrap means less the mean and the centred values."""
    from scipy.special import ndtr, ndtri

    draws = len(drawn)
    tie = 1e-9 * np.abs(drawn[[0, -1]]).max(0)  # rounding must not decide on which side of the mean an equal draw lies
    below = (drawn < -tie).mean(0) + 0.5 * (np.abs(drawn) <= tie).mean(0)
    bias = ndtri(below.clip(1 / (draws + 1), draws / (draws + 1)))
    square = (centred_GM**2).sum(0)
    acceleration = np.divide((centred_GM**3).sum(0), 6 * square**1.5, out=np.zeros_like(square), where=square > 0)
    shifted = [bias - z, bias + z]
    return [ndtr(bias + at / np.maximum(1 - acceleration * at, 1e-9)) for at in shifted]


def _quantiles(sorted_DM: Floats, at_M: Floats) -> Floats:
    """The quantile of each column at its own level, linear between draws."""
    position = at_M * (len(sorted_DM) - 1)
    low = np.floor(position).astype(np.intp)
    high, column = np.minimum(low + 1, len(sorted_DM) - 1), np.arange(sorted_DM.shape[1])
    between: Floats = sorted_DM[low, column] + (position - low) * (sorted_DM[high, column] - sorted_DM[low, column])
    return between


def _chunks(num_groups: int, draws: int) -> Iterator[tuple[int, int]]:
    rows = max(1, _CHUNK // num_groups)
    for number, start in enumerate(range(0, draws, rows)):
        yield number, min(rows, draws - start)


@lru_cache(maxsize=16)
def _counts(num_groups: int, rows: int, seed: int, chunk: int) -> NDArray[np.uint8]:
    """How often each group was drawn, in `rows` draws of `num_groups` groups: [rows, num_groups]. Shared by all metrics.

    No group is drawn 256 times: the number is about Poisson with mean 1.
    """
    rng = np.random.default_rng([seed, num_groups, chunk])
    drawn = rng.integers(0, num_groups, (rows, num_groups), dtype=np.int32).astype(np.intp)
    drawn += np.arange(rows, dtype=np.intp)[:, None] * num_groups
    counts = np.bincount(drawn.ravel(), minlength=rows * num_groups).reshape(rows, num_groups).astype(np.uint8)
    counts.setflags(write=False)
    return counts


@lru_cache(maxsize=16)
def _signs(num_groups: int, rows: int, seed: int, chunk: int) -> NDArray[np.int8]:
    """Random signs, ±1: [rows, num_groups]. Shared by all metrics."""
    signs = 1 - 2 * np.random.default_rng([seed, num_groups, chunk]).integers(0, 2, (rows, num_groups), dtype=np.int8)
    signs.setflags(write=False)
    return signs


@lru_cache(maxsize=8)
def _weights(num_values: int, rows: int, seed: int, chunk: int) -> NDArray[np.float32]:
    """Weights that sum to 1, uniformly distributed: [rows, num_values]. Shared by all metrics."""
    rng = np.random.default_rng([seed, num_values, chunk])
    drawn = rng.standard_exponential((rows, num_values), dtype=np.float32)
    drawn /= drawn.sum(1, keepdims=True)
    drawn.setflags(write=False)
    return drawn


@lru_cache(maxsize=4)
def _all_signs(num_groups: int) -> Floats:
    """Every pattern of signs: [2^G, G]."""
    patterns = np.arange(2**num_groups, dtype=np.int64)[:, None] >> np.arange(num_groups) & 1
    signs: Floats = 1.0 - 2.0 * patterns.astype(np.float64)
    signs.setflags(write=False)
    return signs
