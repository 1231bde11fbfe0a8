"""Proportions with intervals that know of documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.proportion import Z, wilson
from tunesmith.core.records import Interval

__all__ = ["Share", "clustered_share", "share_interval"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A proportion of answers: `count` of `n`.

    `share` counts every document as one, so it is count / n only where documents are of one size. It is None where n = 0; `ci`
    needs answers from two documents.
    """

    count: int
    n: int
    share: float | None
    ci: Interval | None


def clustered_share(hits: Sequence[bool], groups: Sequence[str], *, level: float = 0.95) -> Share:
    """The mean over documents of the share of `hits`, with `share_interval`; `groups` names the document of each answer."""
    n, count = len(hits), sum(hits)
    sizes, inside = dict[str, int](), dict[str, int]()
    for hit, group in zip(hits, groups, strict=True):
        sizes[group] = sizes.get(group, 0) + 1
        inside[group] = inside.get(group, 0) + hit
    hits_G, sizes_G = (np.array([of[group] for group in sizes], dtype=np.float64) for of in (inside, sizes))
    if len(sizes) < 2:
        return Share(count=count, n=n, share=count / n if n else None, ci=None)
    low, high, effective = share_interval(hits_G, sizes_G, level=level)
    method = f"Wilson on {effective:.0f} effective answers ({n} from {len(sizes)} documents)"
    interval = Interval(low=low, high=high, level=level, method=method)
    return Share(count=count, n=n, share=float((hits_G / sizes_G).mean()), ci=interval)


def share_interval(hits_G: Floats, sizes_G: Floats, *, level: float) -> tuple[float, float, float]:
    """Low, high and the effective number of answers, from the hits and answers of each of at least two documents.

    Wilson's interval of the mean share p of the documents. Its effective number of answers is p (1 − p) over the variance of
    that mean between documents, at least the number of documents (what is left if the answers of a document always agree) and
    at most what independent answers would be worth (G² / Σ 1/n_g). It is cut by (z / t)² with the degrees of freedom of the
    documents, as in Korn & Graubard 1998, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data". Where all documents agree there is no variance to go by, and documents count. Coverage:
    docs/concepts/statistics.md.
    """
    from scipy.special import stdtrit

    shares_G, num_groups = hits_G / sizes_G, sizes_G.size
    share, variance = float(shares_G.mean()), float(shares_G.var(ddof=1)) / num_groups
    found = share * (1 - share) / variance if variance > 0 else float(num_groups)
    independent = num_groups**2 / float((1 / sizes_G).sum())
    effective = min(independent, max(float(num_groups), found))
    effective *= float(Z / stdtrit(num_groups - 1, 0.5 + level / 2)) ** 2  # Wilson's interval depends on n / z² alone
    low, high = wilson(share, effective)
    return low, high, effective
