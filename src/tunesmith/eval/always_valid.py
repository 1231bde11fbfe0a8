"""Is one of two better, asked as often as one likes: an interval for a difference of means that holds at all times together.

Values are differences d of two scores in 0 … 1, so they are in −1 … 1; independent, with one mean δ. For a supposed mean δ₀,
the capital of a gambler who stakes the share λ against it is

    K_n(δ₀) = mean over λ of Π (1 + λ (d_i − δ₀)),      1 + λ (d − δ₀) ≥ 0 for every possible d

If δ = δ₀ it is a non-negative martingale that begins at 1, so the chance that it ever reaches 1 / α is at most α (Ville 1939).
The δ₀ whose capital is below 1 / α are a confidence sequence (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random
variables by betting"). λ has a uniform weight over its range, by Gauss–Legendre; the nodes are a mixture themselves, so the
bound is exact however coarse they are. For d in {−1, 0, 1} and δ₀ = 0 this is the arena's e-process with λ = 2 · share − 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp

__all__ = ["Difference", "difference_of", "log_capital"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(256)
_SHARES, _LOG_WEIGHTS = (_NODES + 1) / 2, np.log(_WEIGHTS / 4)  # of each side of the range; the weights of both sum to 1
_EDGE = 1 - 1e-9
_GRID = np.linspace(-_EDGE, _EDGE, 81)


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of `n` differences, and all means that they do not exclude, whenever one stops (None: n is 0).

    `evidence`: K_n(0). `decided`: 0 is excluded.
    """

    n: int
    mean: float | None
    ci: tuple[float, float] | None
    evidence: float
    decided: bool


def log_capital(values: NDArray[np.float64], counts: NDArray[np.float64], mean: float = 0.0) -> NDArray[np.float64]:
    """ln K(mean) after each `values[j]` came `counts[…, j]` times. `values` in −1 … 1, `mean` inside −1 … 1."""
    stakes = np.concatenate([_SHARES / (1 + mean), -_SHARES / (1 - mean)])
    gains = np.log1p(np.maximum(np.outer(values - mean, stakes), -1 + 1e-15))
    return np.asarray(logsumexp(counts @ gains + np.tile(_LOG_WEIGHTS, 2), axis=-1))


def difference_of(differences: Sequence[float], *, alpha: float = 0.05) -> Difference:
    """What the differences say of their mean. ValueError for one outside −1 … 1."""
    if not differences:
        return Difference(0, None, None, 1.0, decided=False)
    values, counts = np.unique(np.asarray(differences, dtype=float), return_counts=True)
    if values[0] < -1 or values[-1] > 1:
        raise ValueError("a difference of two scores in 0 … 1 is in -1 … 1")
    n, limit = len(differences), math.log(1 / alpha)
    mean = float(np.average(values, weights=counts))

    def over(supposed: float) -> float:
        return float(log_capital(values, counts.astype(float), supposed)) - limit

    centre = min(max(mean, -_EDGE), _EDGE)
    low = _end(over, centre, [x for x in _GRID if x < centre])
    high = _end(over, centre, [x for x in reversed(_GRID) if x > centre])
    evidence = float(log_capital(values, counts.astype(float)))
    return Difference(n, mean, (low, high), math.exp(min(evidence, 700.0)), decided=not low <= 0 <= high)


def _end(over: Callable[[float], float], centre: float, inwards: Sequence[float]) -> float:
    """The outermost mean that is not excluded, looked for from the end of the range towards the centre."""
    before: float | None = None
    for place in [*inwards, centre]:
        if over(place) < 0:
            return round(place) if before is None else float(brentq(over, before, place, xtol=1e-6))
        before = float(place)
    return centre
