"""Cohen's kappa with an interval that knows of clusters.

κ = (p_o − p_e) / (1 − p_e): p_o is the share of equal labels, p_e what two raters with these shares of labels would reach by
chance (Cohen 1960, "A coefficient of agreement for nominal scales"). Pairs count once each; clusters are what is drawn.

Interval: on each side the wider of two.

1. Cluster bootstrap, bias-corrected and accelerated (Efron 1987), both arms stretched by √(G/(G−1)) · t(G−1) / z as in
   `eval.document_means`.
2. Wilson's interval of p_o, with p_e as it is, on an effective number of pairs: the pairs over the design effect of their
   clusters. Without it, ten equal labels would be an interval of [1, 1].

Shapes: G clusters, K labels, K² cells of a confusion matrix (person × judge).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.proportion import Z, wilson
from tunesmith.eval.document_means import drawn_counts

__all__ = ["LEAST_CLUSTERS", "Kappa", "cells_of", "kappa", "kappa_of_cells"]

Floats = NDArray[np.float64]
LEAST_CLUSTERS = 10
DRAWS, SEED, LEVEL = 10_000, 7, 0.95
_MOST_CELLS = 20_000_000  # draws times clusters: with many clusters fewer draws are as precise


@dataclass(frozen=True, slots=True, kw_only=True)
class Kappa:
    """κ over `n` pairs in `num_groups` clusters. `value` and `ci` are None where `why_not` says what is missing."""

    value: float | None
    ci: tuple[float, float] | None
    n: int
    num_groups: int
    why_not: str = ""

    def as_dict(self) -> dict[str, object]:
        """`value`, `ci` and `n`, and the reason where one of them is not measured."""
        found: dict[str, object] = {"value": self.value, "ci": None if self.ci is None else list(self.ci), "n": self.n}
        return found | ({"why_not": self.why_not} if self.why_not else {})


def kappa(left: Sequence[str], right: Sequence[str], groups: Sequence[str], *, draws: int = DRAWS, seed: int = SEED) -> Kappa:
    """κ between two raters of the same pairs, with its 95 % interval clustered by `groups`."""
    cells_GKK, _ = cells_of(left, right, groups)
    n, num_groups = len(left), len(cells_GKK)
    if n == 0:
        return Kappa(value=None, ci=None, n=0, num_groups=0, why_not="no pair has both labels")
    value = float(kappa_of_cells(cells_GKK.sum(0)))
    if math.isnan(value):
        reason = "both raters gave one and the same label throughout, so chance agreement is 1"
        return Kappa(value=None, ci=None, n=n, num_groups=num_groups, why_not=reason)
    if num_groups < LEAST_CLUSTERS:
        many = f"{num_groups} independent prompt{'s are' if num_groups > 1 else ' is'}"
        reason = f"{many} too few for an interval: at least {LEAST_CLUSTERS}"
        return Kappa(value=value, ci=None, n=n, num_groups=num_groups, why_not=reason)
    draws = min(draws, max(2_000, _MOST_CELLS // num_groups))
    return Kappa(value=value, ci=_interval(cells_GKK, value, draws, seed), n=n, num_groups=num_groups)


def cells_of(left: Sequence[str], right: Sequence[str], groups: Sequence[str]) -> tuple[Floats, tuple[str, ...]]:
    """How often each two labels met in each cluster, [G, K, K], and the labels in order."""
    labels = tuple(sorted({*left, *right}))
    at = {label: number for number, label in enumerate(labels)}
    rows = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    cells = np.zeros((len(rows), len(labels), len(labels)))
    for one, other, group in zip(left, right, groups, strict=True):
        cells[rows[group], at[one], at[other]] += 1
    return cells, labels


def kappa_of_cells(cells: Floats) -> Floats:
    """κ of confusion matrices [..., K, K]; not a number where chance agreement is 1."""
    n = cells.sum((-1, -2))
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.trace(cells, axis1=-2, axis2=-1) / n
        chance = (cells.sum(-1) * cells.sum(-2)).sum(-1) / n**2
        found: Floats = np.where(chance >= 1 - 1e-12, np.nan, (observed - chance) / (1 - chance))
    return found


def _interval(cells_GKK: Floats, value: float, draws: int, seed: int) -> tuple[float, float]:
    below, above = _bootstrap_arms(cells_GKK, value, draws, seed)
    low, high = _wilson_range(cells_GKK)
    return max(-1.0, min(value - below, low)), min(1.0, max(value + above, high))


def _bootstrap_arms(cells_GKK: Floats, value: float, draws: int, seed: int) -> tuple[float, float]:
    from scipy.special import ndtr, ndtri, stdtrit

    num_groups, labels = cells_GKK.shape[0], cells_GKK.shape[-1]
    flat = cells_GKK.reshape(num_groups, -1)
    drawn = np.concatenate(
        [
            kappa_of_cells((counts.astype(np.float64) @ flat).reshape(-1, labels, labels))
            for counts in drawn_counts(num_groups, draws=draws, seed=seed)
        ]
    )
    drawn = np.sort(drawn[np.isfinite(drawn)]) - value
    tie = 1e-9
    below = float((drawn < -tie).mean() + 0.5 * (np.abs(drawn) <= tie).mean())
    bias = float(ndtri(min(max(below, 1 / (draws + 1)), draws / (draws + 1))))
    without = kappa_of_cells(cells_GKK.sum(0) - cells_GKK)
    without = without[np.isfinite(without)]
    pulled = without.mean() - without
    square = float((pulled**2).sum())
    acceleration = float((pulled**3).sum()) / (6 * square**1.5) if square > 0 else 0.0
    levels = [float(ndtr(bias + at / max(1 - acceleration * at, 1e-9))) for at in (bias - Z, bias + Z)]
    low, high = np.quantile(drawn, levels)
    stretch = math.sqrt(num_groups / (num_groups - 1)) * float(stdtrit(num_groups - 1, 0.5 + LEVEL / 2)) / Z
    return stretch * max(0.0, -float(low)), stretch * max(0.0, float(high))


def _wilson_range(cells_GKK: Floats) -> tuple[float, float]:
    """κ at both ends of Wilson's interval of the observed agreement."""
    from scipy.special import stdtrit

    whole, num_groups = cells_GKK.sum(0), cells_GKK.shape[0]
    n = float(whole.sum())
    agreed_G, sizes_G = np.trace(cells_GKK, axis1=1, axis2=2), cells_GKK.sum((1, 2))
    observed = float(agreed_G.sum()) / n
    chance = float((whole.sum(0) * whole.sum(1)).sum()) / n**2
    variance = num_groups / (num_groups - 1) * float(((agreed_G - observed * sizes_G) ** 2).sum()) / n**2
    effective = min(n, max(float(num_groups), observed * (1 - observed) / variance)) if variance > 0 else float(num_groups)
    effective *= float(Z / stdtrit(num_groups - 1, 0.5 + LEVEL / 2)) ** 2
    low, high = wilson(observed, effective)
    return (low - chance) / (1 - chance), (high - chance) / (1 - chance)
