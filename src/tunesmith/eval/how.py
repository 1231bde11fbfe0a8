"""How the figures of one evaluation are computed: resamples, seed, confidence level, and what counts as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.eval.metrics.metric import Metric
from tunesmith.eval.stats import LEVEL, Difference, Summary, Weighting, paired, summarise

__all__ = ["How"]

_UNBOUNDED = (float("-inf"), float("inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """Settings that all figures of an evaluation share. `weighting`: every document counts as one, or every item does."""

    draws: int = 10_000
    seed: int = 7
    level: float = LEVEL
    weighting: Weighting = "documents"

    def summary(
        self, values: Sequence[float | None], groups: Sequence[str], bounds: tuple[float, float] = _UNBOUNDED
    ) -> Summary:
        """As `eval.stats.summarise`."""
        return summarise(
            values,
            groups,
            draws=self.draws,
            seed=self.seed,
            bounds=bounds,
            level=self.level,
            weighting=self.weighting,
        )

    def difference(
        self,
        a: Sequence[float | None],
        b: Sequence[float | None],
        groups: Sequence[str],
        *,
        metric: Metric | None = None,
        bounds: tuple[float, float] = _UNBOUNDED,
        margin: float = 0.0,
    ) -> Difference:
        """As `eval.stats.paired`, in the direction and within the bounds of the metric; `bounds` where there is no metric."""
        return paired(
            a,
            b,
            groups,
            draws=self.draws,
            seed=self.seed,
            higher_is_better=metric is None or metric.higher_is_better is not False,
            bounds=bounds if metric is None else metric.bounds,
            level=self.level,
            margin=margin,
            weighting=self.weighting,
        )
