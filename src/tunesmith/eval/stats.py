"""Honest statistics: means with intervals that know of documents, paired differences, tests and power.

Items from one document resemble each other, so documents (groups) are what is drawn, flipped and counted. By default every
document counts as one: its items are reduced to their mean. Not computed is None, never zero. Same input and seed give the
same numbers. How intervals and p are computed: `eval.document_means`; how well they keep their promise:
docs/concepts/statistics.md and tests/eval/test_eval_calibration.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Interval
from tunesmith.eval.clusters import Weighting, effective_documents
from tunesmith.eval.document_means import (
    UNBOUNDED,
    Bounds,
    Floats,
    bounded_p,
    interval_arms,
    is_constant,
    sign_flip,
    skewness,
    t_test,
)
from tunesmith.eval.power import detectable_effect

__all__ = [
    "LEVEL",
    "Difference",
    "Summary",
    "Weighting",
    "detectable_effect",
    "holm",
    "paired",
    "summarise",
]

LEVEL = 0.95
_FEW = 10  # documents below which coverage is not what the level says if differences are skewed
_NOTHING = "nothing was scored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A metric over the items of one system. `n` scored items in `num_groups` documents; `unscored` items are in no figure.

    `mean` counts every document, or every item, as one (`weighting`); median, std (n − 1), min and max are of the items.
    Everything but the counts is None if nothing was scored. `ci` is of the mean; where it is None, `no_interval` says why.
    """

    n: int
    unscored: int
    num_groups: int
    effective_documents: float
    weighting: Weighting
    mean: float | None
    median: float | None
    std: float | None
    min: float | None
    max: float | None
    ci: Interval | None
    no_interval: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """b − a on the same items. `better` and `worse` count the items on which b is better or worse; the rest are ties.

    Means count every document, or every item, as one (`weighting`). `p` is two-sided, for the null hypothesis that the gain
    equals `margin`; `smallest_p` is the least that so few documents could give. `relative` is mean / |mean_a|. Where `ci` is
    None, `no_interval` says why. `warnings`: sentences about documents that are few, skewed or unequal.
    """

    n: int
    unscored: int
    num_groups: int
    effective_documents: float
    weighting: Weighting
    margin: float
    level: float
    mean_a: float | None
    mean_b: float | None
    mean: float | None
    ci: Interval | None
    no_interval: str | None
    p: float | None
    smallest_p: float | None
    better: int
    worse: int
    relative: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """Scored values by document. `values_G` has the spread of the estimate: document means, or jackknife pseudo-values.

    `sums_G` and `weights_G` are what the sign-flip test uses: means and ones, or sums and sizes scaled to a mean size of 1.
    """

    estimate: float
    values_G: Floats
    sums_G: Floats
    weights_G: Floats
    sizes_G: Floats
    effective: float
    of_documents: bool

    @property
    def freedom(self) -> float:
        return max(1.0, self.effective - 1)


def summarise(
    values: Sequence[float | None],
    groups: Sequence[str],
    *,
    draws: int = 10_000,
    seed: int = 7,
    bounds: Bounds = UNBOUNDED,
    level: float = LEVEL,
    weighting: Weighting = "documents",
) -> Summary:
    """Mean, spread and interval of one metric. `None` is an unscored item; `groups` names the document of each item.

    The interval is cut at `bounds`, the least and greatest value that the metric can take. If all documents have the same
    value there is no spread: then the interval comes from what is possible within finite `bounds`, otherwise there is none.
    Raises EvaluationError for not-a-number, infinity, unequal lengths, `draws` < 1 or a level outside 0.5 … 1.
    """
    _check_settings(draws, level)
    scored, names, unscored = _scored(values, groups)
    if scored.size == 0:
        nothing = {"mean": None, "median": None, "std": None, "min": None, "max": None, "ci": None}
        return Summary(
            n=0, unscored=unscored, num_groups=0, effective_documents=0.0, weighting=weighting, no_interval=_NOTHING, **nothing
        )
    sample = _sample(scored, names, weighting)
    ci, no_interval = _interval(sample, bounds, level=level, draws=draws, seed=seed)
    return Summary(
        n=scored.size,
        unscored=unscored,
        num_groups=sample.values_G.size,
        effective_documents=sample.effective,
        weighting=weighting,
        mean=sample.estimate,
        median=float(np.median(scored)),
        std=float(scored.std(ddof=1)) if scored.size > 1 else None,
        min=float(scored.min()),
        max=float(scored.max()),
        ci=ci,
        no_interval=no_interval,
    )


def paired(  # noqa: PLR0913 (two systems and how to compare them)
    a: Sequence[float | None],
    b: Sequence[float | None],
    groups: Sequence[str],
    *,
    draws: int = 10_000,
    seed: int = 7,
    higher_is_better: bool = True,
    bounds: Bounds = UNBOUNDED,
    level: float = LEVEL,
    margin: float = 0.0,
    weighting: Weighting = "documents",
) -> Difference:
    """The difference b − a on the same items in the same order, with interval and test clustered by document.

    Items that are unscored on either side are left out and counted. `bounds` are those of the metric: the difference of two
    shares stays within ±1. `margin` is in the metric's unit and in the direction of improvement: p tests the null hypothesis
    that the gain (b − a, or a − b if lower is better) equals it; a negative margin asks whether b is not much worse.
    `p` is the larger of the sign-flip test by document and a test that allows for skewness (`eval.document_means`).
    """
    _check_settings(draws, level)
    if len(a) != len(b):
        raise _unequal(len(a), len(b), "scores of a and b")
    for side in (a, b):
        _scored(side, groups)
    both = [None if x is None or y is None else y - x for x, y in zip(a, b, strict=True)]
    difference, names, unscored = _scored(both, groups)
    if difference.size == 0:
        nothing = {"mean_a": None, "mean_b": None, "mean": None, "ci": None, "p": None, "smallest_p": None, "relative": None}
        return Difference(
            n=0,
            unscored=unscored,
            num_groups=0,
            effective_documents=0.0,
            weighting=weighting,
            margin=margin,
            level=level,
            no_interval=_NOTHING,
            better=0,
            worse=0,
            warnings=(),
            **nothing,
        )
    kept_a = np.array([x for x, row in zip(a, both, strict=True) if row is not None], dtype=np.float64)
    sample, mean_a = _sample(difference, names, weighting), _sample(kept_a, names, weighting).estimate
    width, direction = bounds[1] - bounds[0], 1.0 if higher_is_better else -1.0
    ci, no_interval = _interval(sample, (-width, width), level=level, draws=draws, seed=seed)
    p, smallest_p = _p_value(sample, (-width, width), direction * margin, draws=draws, seed=seed)
    return Difference(
        n=difference.size,
        unscored=unscored,
        num_groups=sample.values_G.size,
        effective_documents=sample.effective,
        weighting=weighting,
        margin=margin,
        level=level,
        mean_a=mean_a,
        mean_b=mean_a + sample.estimate,
        mean=sample.estimate,
        ci=ci,
        no_interval=no_interval,
        p=p,
        smallest_p=smallest_p,
        better=int((direction * difference > 0).sum()),
        worse=int((direction * difference < 0).sum()),
        relative=sample.estimate / abs(mean_a) if mean_a != 0 else None,
        warnings=_warnings(sample, direction),
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


def _unequal(left: int, right: int, what: str) -> EvaluationError:
    return EvaluationError(
        f"{what} are not of one length",
        value=(left, right),
        expected="one entry for each item",
        hint="report this: tunesmith counted wrongly",
    )


def _check_settings(draws: int, level: float) -> None:
    if draws < 1:
        raise EvaluationError("no draws, no interval", value=draws, expected="at least 1", hint="--set eval.draws=10000")
    if not 0.5 < level < 1:
        raise EvaluationError(
            "not a confidence level", value=level, expected="a share, such as 0.95", hint="report this: tunesmith set it"
        )


def _scored(values: Sequence[float | None], groups: Sequence[str]) -> tuple[Floats, list[str], int]:
    """The scored values, the group of each, and how many are unscored."""
    if len(values) != len(groups):
        raise _unequal(len(values), len(groups), "scores and groups")
    kept = [(float(v), g) for v, g in zip(values, groups, strict=True) if v is not None]
    scored = np.array([v for v, _ in kept], dtype=np.float64)
    if not np.isfinite(scored).all():
        raise EvaluationError(
            "a score is not a finite number",
            value=[v for v in scored.tolist() if not math.isfinite(v)][:3],
            expected="finite numbers, or None for an item that could not be scored",
            hint="check whether the model diverged: tunesmith show RUN",
        )
    return scored, [g for _, g in kept], len(values) - len(kept)


def _sample(scored: Floats, names: Sequence[str], weighting: Weighting) -> _Sample:
    """By document, in order of first sight."""
    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.intp)
    sizes_G = np.bincount(codes).astype(np.float64)
    centre = float(scored.mean())  # taken away and added again, so that no digits are lost
    sums_G = np.bincount(codes, weights=scored - centre)
    effective = effective_documents(names, weighting)
    num_groups, n = sizes_G.size, scored.size
    if weighting == "documents":
        values_G = centre + sums_G / sizes_G
        estimate, flipped_G, weights_G = float(values_G.mean()), values_G, np.ones(num_groups)
    else:
        values_G = np.full(num_groups, centre)
        if num_groups > 1:  # pseudo-values of the jackknife: what the mean becomes with each document left out
            values_G = centre - (num_groups - 1) * (sums_G.sum() - sums_G) / (n - sizes_G)
        estimate, weights_G = centre, num_groups / n * sizes_G
        flipped_G = num_groups / n * sums_G + centre * weights_G
    return _Sample(
        estimate=estimate,
        values_G=values_G,
        sums_G=flipped_G,
        weights_G=weights_G,
        sizes_G=sizes_G,
        effective=effective,
        of_documents=weighting == "documents",
    )


def _interval(sample: _Sample, bounds: Bounds, *, level: float, draws: int, seed: int) -> tuple[Interval | None, str | None]:
    """The interval cut at `bounds`, or None and the reason."""
    num_groups, mean = sample.values_G.size, sample.estimate
    if num_groups < 2:
        return None, "one document gives no interval"
    if is_constant(sample.values_G):
        return _of_a_constant(sample, bounds, level)
    below, above = interval_arms(
        sample.values_G[:, None],
        level=level,
        draws=draws,
        seed=seed,
        freedom=sample.freedom,
        bounds=bounds if sample.of_documents else UNBOUNDED,
    )
    method = f"cluster bootstrap (BCa) or skewness-adjusted t, whichever is wider; {num_groups} documents,"
    method += f" {draws} draws, seed {seed}"
    low, high = max(bounds[0], mean - float(below[0])), min(bounds[1], mean + float(above[0]))
    return Interval(low=low, high=high, level=level, method=method), None


def _of_a_constant(sample: _Sample, bounds: Bounds, level: float) -> tuple[Interval | None, str | None]:
    """What is possible if all documents seen have one value: those not seen may differ, up to the bounds.

    Had a share π of all documents another value, then seeing none of them in G has probability (1 − π)^G; the interval takes
    every π for which this is at least (1 − level) / 2 (Clopper & Pearson 1934), and the least and greatest values for them.
    """
    num_groups, mean = sample.values_G.size, sample.estimate
    if not all(math.isfinite(bound) for bound in bounds):
        return None, f"all {num_groups} documents have the same value: there is no spread to estimate an interval from"
    unseen = 1 - ((1 - level) / 2) ** (1 / sample.effective)
    method = f"all {num_groups} documents have the same value; up to {100 * unseen:.0f} % of other documents may have another"
    low, high = mean - unseen * (mean - bounds[0]), mean + unseen * (bounds[1] - mean)
    return Interval(low=low, high=high, level=level, method=method), None


def _p_value(sample: _Sample, bounds: Bounds, null: float, *, draws: int, seed: int) -> tuple[float, float]:
    """p that the mean is `null`, and the smallest that was possible."""
    flipped, smallest = sign_flip((sample.sums_G - null * sample.weights_G)[:, None], draws=draws, seed=seed)
    values_GM = sample.values_G[:, None]
    if len(values_GM) < 2 or is_constant(sample.values_G):
        return float(flipped[0]), smallest
    skewed = t_test(np.array([sample.estimate - null]), values_GM, freedom=sample.freedom)
    if sample.of_documents and all(math.isfinite(bound) for bound in bounds):
        skewed = np.minimum(skewed, bounded_p(values_GM, null, bounds, draws=draws, seed=seed))
    return float(max(flipped[0], skewed[0])), smallest


def _warnings(sample: _Sample, direction: float) -> tuple[str, ...]:
    found = []
    num_groups = sample.values_G.size
    if num_groups < _FEW:
        found.append(f"{num_groups} documents are few: below {_FEW}, the interval is too short if differences are skewed")
    skew = direction * float(skewness(sample.values_G[:, None])[0])
    if abs(skew) > max(1.0, 2 * math.sqrt(6 / num_groups)):  # twice its standard error for a normal distribution
        few, others = ("lose", "gain") if skew < 0 else ("gain", "lose")
        found.append(f"the differences are skewed: a few documents {few} much more than the others {others}")
    largest = float(sample.sizes_G.max() / sample.sizes_G.sum())
    if num_groups > 3 and largest > 1 / 3:  # of three, one always has a third
        effect = "the mean rests mainly on it" if not sample.of_documents else "it counts as much as any other"
        found.append(f"one document has {100 * largest:.0f} % of the items: {effect}")
    return tuple(found)
