"""Intervals and tests for a number of all answers together, such as macro-F1 or BLEU: it is not a mean over items.

Documents are drawn again with all their items, and the number is computed anew for each draw (cluster bootstrap, percentile
interval). The arms are widened by t(G−1)/z · √(G/(G−1)), as in `eval.stats`, because G documents drawn from themselves vary too
little. Two systems are compared on the same draws; `p` is the approximate randomisation test by document (Noreen 1989; Riezler
and Maxwell 2005, for BLEU): under the null hypothesis it does not matter which of the two gave the answers to a document.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.records import Interval

__all__ = ["CorpusDifference", "CorpusEstimate", "corpus_difference", "corpus_interval"]

T = TypeVar("T")
Statistic = Callable[[Sequence[T]], float | None]
_LEVEL, _Z = 0.95, 1.959963984540054
_MOST_UNDEFINED = 0.05  # of the draws; with more, those that remain are a selection


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusEstimate:
    """A number of `n` items in `num_groups` documents. `ci` is None below two documents, where all draws give the same number
    (then nothing is known of the spread), and where more than 5 % of the draws give none; `reason` says which."""

    n: int
    num_groups: int
    value: float | None
    ci: Interval | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusDifference:
    """b − a of a number of all items together. `smallest_p` is the least that so few documents could give."""

    n: int
    num_groups: int
    value_a: float | None
    value_b: float | None
    difference: float | None
    ci: Interval | None
    p: float | None
    smallest_p: float | None
    reason: str = ""


def corpus_interval(
    items: Sequence[T],
    groups: Sequence[str],
    statistic: Statistic[T],
    *,
    draws: int = 2_000,
    seed: int = 7,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> CorpusEstimate:
    """The statistic of all items, with a 95 % interval by documents. `groups` names the document of each item.

    `statistic` gets items, each as often as its document was drawn, and gives a number or None. The interval is cut at
    `bounds`.
    """
    members = _members(items, groups)
    value = statistic(items) if items else None
    if value is None or len(members) < 2:
        reason = "no number" if value is None else "one document has no interval"
        return CorpusEstimate(n=len(items), num_groups=len(members), value=value, ci=None, reason=reason)
    rng = np.random.default_rng([seed, len(members), draws])
    drawn = [
        statistic([items[i] for g in rng.integers(0, len(members), len(members)) for i in members[g]]) for _ in range(draws)
    ]
    ci, reason = _interval(drawn, value, len(members), seed, bounds)
    return CorpusEstimate(n=len(items), num_groups=len(members), value=value, ci=ci, reason=reason)


def corpus_difference(
    a: Sequence[T], b: Sequence[T], groups: Sequence[str], statistic: Statistic[T], *, draws: int = 2_000, seed: int = 7
) -> CorpusDifference:
    """The statistic of b less that of a on the same items in the same order, with interval and test by document."""
    if len(a) != len(b):
        raise ValueError(f"{len(a)} items of a, {len(b)} of b")
    members = _members(a, groups)
    value_a, value_b = (statistic(side) if side else None for side in (a, b))
    known = value_a is not None and value_b is not None
    difference = value_b - value_a if value_a is not None and value_b is not None else None
    if difference is None or len(members) < 2:
        return CorpusDifference(
            n=len(a),
            num_groups=len(members),
            value_a=value_a,
            value_b=value_b,
            difference=difference,
            ci=None,
            p=None,
            smallest_p=None,
            reason="one document has no interval" if known else "no number",
        )
    rng = np.random.default_rng([seed, len(members), draws])
    drawn: list[float | None] = []
    for _ in range(draws):
        chosen = [i for g in rng.integers(0, len(members), len(members)) for i in members[g]]
        drawn.append(_minus(statistic([b[i] for i in chosen]), statistic([a[i] for i in chosen])))
    ci, reason = _interval(drawn, difference, len(members), seed, (-math.inf, math.inf))
    p, smallest = _randomised(a, b, members, statistic, difference, draws, seed)
    return CorpusDifference(
        n=len(a),
        num_groups=len(members),
        value_a=value_a,
        value_b=value_b,
        difference=difference,
        ci=ci,
        p=p,
        smallest_p=smallest,
        reason=reason,
    )


def _members(items: Sequence[T], groups: Sequence[str]) -> list[list[int]]:
    """The positions of each document's items, documents in order of first sight."""
    if len(items) != len(groups):
        raise ValueError(f"{len(items)} items, {len(groups)} groups")
    found: dict[str, list[int]] = {}
    for position, group in enumerate(groups):
        found.setdefault(group, []).append(position)
    return list(found.values())


def _minus(b: float | None, a: float | None) -> float | None:
    return None if a is None or b is None else b - a


def _interval(
    drawn: Sequence[float | None], value: float, num_groups: int, seed: int, bounds: tuple[float, float]
) -> tuple[Interval | None, str]:
    from scipy.stats import t

    known = np.array([one for one in drawn if one is not None], dtype=np.float64)
    if known.size < (1 - _MOST_UNDEFINED) * len(drawn):
        return None, f"{len(drawn) - known.size} of {len(drawn)} draws of documents give no number"
    if np.ptp(known) <= 1e-12 * max(1.0, abs(value)):
        return None, "all draws of documents give the same number, so nothing is known of its spread"
    stretch = float(t.ppf(0.5 + _LEVEL / 2, num_groups - 1)) / _Z * math.sqrt(num_groups / (num_groups - 1))
    low, high = np.quantile(known, [0.5 - _LEVEL / 2, 0.5 + _LEVEL / 2]).tolist()
    method = f"cluster bootstrap of documents (percentile, arms widened ×{stretch:.2f}), {known.size} draws, seed {seed}"
    return (
        Interval(
            low=max(bounds[0], value + min(0.0, stretch * (low - value))),
            high=min(bounds[1], value + max(0.0, stretch * (high - value))),
            level=_LEVEL,
            method=method,
        ),
        "",
    )


def _randomised(
    a: Sequence[T],
    b: Sequence[T],
    members: Sequence[Sequence[int]],
    statistic: Statistic[T],
    observed: float,
    draws: int,
    seed: int,
) -> tuple[float, float]:
    """p and the smallest p. All 2^G exchanges of documents if there are at most `draws`, else random ones with the +1 rule."""
    num_groups = len(members)
    exact = num_groups < 31 and 2**num_groups <= draws
    exchanges: NDArray[np.bool_]
    if exact:
        exchanges = (np.arange(2**num_groups)[:, None] >> np.arange(num_groups) & 1).astype(bool)
    else:
        exchanges = np.random.default_rng([seed, num_groups]).integers(0, 2, (draws, num_groups)).astype(bool)
    reached, tried = 0, 0
    for exchange in exchanges:
        left, right = list(a), list(b)
        for document, swapped in zip(members, exchange, strict=True):
            if swapped:
                for i in document:
                    left[i], right[i] = b[i], a[i]
        found = _minus(statistic(right), statistic(left))
        tried += found is not None
        reached += found is not None and abs(found) >= abs(observed) - 1e-12
    if exact:
        return reached / max(tried, 1), 2.0 / 2**num_groups
    return (reached + 1) / (tried + 1), max(1.0 / (tried + 1), 2.0 ** (1 - min(num_groups, 1000)))
