"""Proportions with 95 % intervals that know of documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.proportion import Z, wilson
from tunesmith.core.records import Interval
from tunesmith.eval.stats import LEVEL

__all__ = ["Share", "clustered_share"]

_WORKING_CORRELATION = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A proportion of answers: `count` of `n`. `share` is None where n = 0; `ci` needs answers from two documents."""

    count: int
    n: int
    share: float | None
    ci: Interval | None


def clustered_share(hits: Sequence[bool], groups: Sequence[str]) -> Share:
    """The share of `hits` with its interval; `groups` names the document of each answer.

    Wilson's interval with an effective number of answers: p (1 − p) over the variance of the share between documents (Kish
    1965, § 8.2), kept between what documents of one size would give if all their answers agreed and what a correlation of
    0.1 inside them would leave, then cut by (z / t)² with the degrees of freedom of the documents (Korn & Graubard 1998,
    "Confidence intervals for proportions with small expected number of positive counts estimated from survey data"). Where
    all answers agree there is no variance to go by, and documents count. Coverage: tests/eval/test_eval_proportions.py.
    """
    n, count = len(hits), sum(hits)
    sizes, inside = dict[str, int](), dict[str, int]()
    for hit, group in zip(hits, groups, strict=True):
        sizes[group] = sizes.get(group, 0) + 1
        inside[group] = inside.get(group, 0) + hit
    if n == 0 or len(sizes) < 2:
        return Share(count=count, n=n, share=count / n if n else None, ci=None)
    hits_G, sizes_G = (np.array([of[group] for group in sizes], dtype=np.float64) for of in (inside, sizes))
    effective = _effective_number(hits_G, sizes_G)
    low, high = wilson(count / n, effective)
    method = f"Wilson on {effective:.0f} effective answers ({n} from {len(sizes)} documents)"
    return Share(count=count, n=n, share=count / n, ci=Interval(low=low, high=high, level=LEVEL, method=method))


def _effective_number(hits_G: NDArray[np.float64], sizes_G: NDArray[np.float64]) -> float:
    from scipy.stats import t

    n, num_groups = float(sizes_G.sum()), sizes_G.size
    share = float(hits_G.sum()) / n
    squares = float((sizes_G**2).sum()) / n
    least, most = n / squares, n / (1 + _WORKING_CORRELATION * (squares - 1))
    variance = float(((hits_G - share * sizes_G) ** 2).sum()) / n**2 * num_groups / (num_groups - 1)
    found = share * (1 - share) / variance if variance > 0 else least
    narrowing = float(Z / t.ppf(0.5 + LEVEL / 2, num_groups - 1)) ** 2
    return min(most, max(least, found)) * narrowing
