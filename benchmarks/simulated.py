"""Simulated test sets with a known truth, for the coverage table (`bench_statistics.py coverage`) and the calibration test.

A design says how items come about: value = √ρ · (level of its document) + √(1 − ρ) · (its own noise), both of one shape with
mean 0 and variance 1; ρ is the correlation of the items of a document. Effects tied to size grow with the logarithm of a
document's number of items. Many sets are simulated at once: rows are documents, columns are sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.eval.document_means import UNBOUNDED, interval_arms, p_values
from tunesmith.eval.proportions import share_interval
from tunesmith.eval.stats import summarise

__all__ = [
    "SHAPES",
    "Design",
    "Rates",
    "Sizes",
    "document_means",
    "item_coverage",
    "rates",
    "share_coverage",
    "sizes_of",
]

Floats = NDArray[np.float64]
Sizes = Literal["equal", "lognormal"]
ITEMS = 5  # in a document, on average


def _lognormal(rng: np.random.Generator, n: int) -> Floats:
    return (rng.lognormal(0.0, 1.0, n) - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)


SHAPES: Mapping[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "t3": lambda rng, n: rng.standard_t(3, n) / math.sqrt(3),
    "lognormal": _lognormal,  # many lose a little, few gain much
    "left lognormal": lambda rng, n: -_lognormal(rng, n),  # many gain a little, few lose much
    "left exponential": lambda rng, n: 1 - rng.exponential(size=n),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Documents, how their items vary (`shape` of SHAPES, or "binary": the difference of two hits), and how large they are."""

    shape: str
    documents: int
    correlation: float = 0.0
    sizes: Sizes = "equal"
    tied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """In percent of the simulated sets: intervals that cover the truth, lie above it, below it; p ≤ 0.05; SHIP by the rule."""

    coverage: float
    above: float
    below: float
    rejected: float
    ship: float


def sizes_of(design: Design, rng: np.random.Generator, sets: int) -> tuple[NDArray[np.intp], Floats]:
    """The number of items of every document of every set, and its standardised logarithm before rounding."""
    logs = rng.normal(size=design.documents * sets)
    if design.sizes == "equal":
        return np.full(logs.size, ITEMS, dtype=np.intp), logs
    return np.maximum(1, np.rint(np.exp(logs + math.log(ITEMS) - 0.5))).astype(np.intp), logs


def document_means(
    design: Design, rng: np.random.Generator, sets: int, *, given_sizes: NDArray[np.intp] | None = None
) -> Floats:
    """One mean gain a document, true mean 0: [documents, sets]. Sizes are drawn, or the given ones in every set."""
    sizes, logs = sizes_of(design, rng, sets)
    if given_sizes is not None:
        sizes = np.tile(given_sizes, sets)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    if design.shape == "binary":
        means = (_hits(rng, 0.6, design.correlation, sizes) - _hits(rng, 0.6, design.correlation, sizes)) / sizes
    else:
        shape = SHAPES[design.shape]
        own = np.add.reduceat(shape(rng, int(sizes.sum())), starts) / sizes
        means = math.sqrt(design.correlation) * shape(rng, sizes.size) + math.sqrt(1 - design.correlation) * own
    if design.tied:
        means = means + 0.5 * logs
    return means.reshape(sets, design.documents).T


def _hits(rng: np.random.Generator, share: float, correlation: float, sizes: NDArray[np.intp]) -> Floats:
    """Hits among the items of each document, their shares beta-distributed about `share`."""
    if correlation <= 0:
        return rng.binomial(sizes, share).astype(np.float64)
    scale = (1 - correlation) / correlation
    return rng.binomial(sizes, rng.beta(share * scale, (1 - share) * scale, sizes.size)).astype(np.float64)


def rates(
    design: Design,
    *,
    sets: int,
    draws: int = 1000,
    seed: int = 5,
    effect: float = 0.0,
    level: float = 0.95,
    given_sizes: NDArray[np.intp] | None = None,
) -> Rates:
    """How often the interval covers the truth, and how often the rule of the gate finds a gain, if the true gain is `effect`.

    Sets without any spread between documents count as covered and as not shipped, as in `paired`.
    """
    random = np.random.default_rng([seed, design.documents])
    values = document_means(design, random, sets, given_sizes=given_sizes) + effect
    middle = values.mean(0)
    bounds = (-1.0, 1.0) if design.shape == "binary" else UNBOUNDED
    below, above = interval_arms(values, level=level, draws=draws, seed=seed, bounds=bounds)
    p = p_values(values, 0.0, draws=draws, seed=seed, bounds=bounds)
    varies = np.ptp(values, axis=0) > 0
    low, high = np.where(varies, middle - below, -np.inf), np.where(varies, middle + above, np.inf)
    found = p <= 1 - level
    return Rates(
        coverage=100 * float(((low <= effect) & (high >= effect)).mean()),
        above=100 * float((low > effect).mean()),
        below=100 * float((high < effect).mean()),
        rejected=100 * float((found & varies).mean()),
        ship=100 * float((found & (low > 0)).mean()),
    )


def item_coverage(design: Design, *, sets: int, seed: int = 5) -> float:
    """In percent of the simulated sets: how often the interval covers the truth if every item counts as one. Normal values."""
    random = np.random.default_rng([seed, design.documents])
    covered = 0
    for _ in range(sets):
        sizes, _ = sizes_of(design, random, 1)
        values = np.repeat(random.normal(size=sizes.size) * math.sqrt(design.correlation), sizes)
        values += random.normal(size=values.size) * math.sqrt(1 - design.correlation)
        groups = np.repeat(np.arange(sizes.size), sizes).astype(str).tolist()
        ci = summarise(values.tolist(), groups, draws=1000, seed=seed, weighting="items").ci
        covered += ci is not None and ci.low <= 0 <= ci.high
    return 100 * covered / sets


def share_coverage(share: float, design: Design, *, sets: int, seed: int = 5) -> float:
    """In percent of the simulated sets: how often the interval of one system's share covers the truth."""
    rng = np.random.default_rng([seed, design.documents])
    sizes, _ = sizes_of(design, rng, sets)
    hits = _hits(rng, share, design.correlation, sizes)
    covered = 0
    for one_hits, one_sizes in zip(hits.reshape(sets, -1), sizes.reshape(sets, -1).astype(np.float64), strict=True):
        low, high, _ = share_interval(one_hits, one_sizes, level=0.95)
        covered += low <= share <= high
    return 100 * covered / sets
