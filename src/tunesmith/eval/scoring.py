"""One metric on the answers of several systems to the same items: each system's figures, and the difference of two.

Works for metrics with one score per answer (means over items) and for scores of all answers together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.records import Interval
from tunesmith.eval.corpus import corpus_difference, corpus_interval
from tunesmith.eval.metrics.metric import CorpusScore, Expected, Metric
from tunesmith.eval.metrics.registry import corpus_score, score_answers
from tunesmith.eval.stats import paired, summarise

__all__ = ["PairedDifference", "Scored", "Scoring", "ends"]

_CORPUS_DRAWS = 2_000  # each draw computes the whole score again


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The scores of one system's answers: `values` by item, or `corpus` for a score of all answers together (of the items at
    `positions`). `reasons` counts why answers are unscored."""

    values: tuple[float | None, ...] = ()
    corpus: CorpusScore | None = None
    positions: tuple[int, ...] = ()
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """b − a. `better` and `worse` count items and are None for a score of all answers together."""

    n: int
    unscored: int
    num_groups: int
    mean: float | None
    ci: Interval | None
    p: float | None
    smallest_p: float | None
    better: int | None
    worse: int | None
    relative: float | None
    method: str

    def improvement(self, higher_is_better: bool) -> tuple[float, float, float] | None:
        """Mean, low and high of the gain of b over a, positive where b is better; None without an interval."""
        if self.mean is None or self.ci is None:
            return None
        if higher_is_better:
            return self.mean, self.ci.low, self.ci.high
        return -self.mean, -self.ci.high, -self.ci.low


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """A metric with the items that it is measured on. `groups`: the document of each item."""

    metric: Metric
    expected: Sequence[Expected]
    groups: Sequence[str]
    draws: int
    seed: int
    run_code: bool = False

    def score(self, texts: Sequence[str]) -> Scored:
        """The scores of one system's answers, in the order of the items."""
        if self.metric.corpus is not None:
            found, positions = corpus_score(self.metric, texts, self.expected)
            left_out = len(texts) - len(positions)
            return Scored(corpus=found, positions=positions, reasons={"the item lacks what the metric needs": left_out})
        answers = score_answers(self.metric, texts, self.expected, run_code=self.run_code)
        return Scored(values=answers.values, reasons=answers.reasons)

    def side(self, scored: Scored) -> dict[str, Any]:
        """Mean, median, std, min, max and interval of one system; of a score of all answers together mean and interval."""
        if scored.corpus is not None:
            groups = [self.groups[i] for i in scored.positions]
            found = corpus_interval(
                scored.corpus.parts,
                groups,
                scored.corpus.value,
                draws=self._corpus_draws,
                seed=self.seed,
                bounds=self.metric.bounds,
            )
            return {"mean": found.value, "median": None, "std": None, "min": None, "max": None, "ci": ends(found.ci)}
        s = summarise(scored.values, self.groups, draws=self.draws, seed=self.seed, bounds=self.metric.bounds)
        return {"mean": s.mean, "median": s.median, "std": s.std, "min": s.min, "max": s.max, "ci": ends(s.ci)}

    def difference(self, a: Scored, b: Scored) -> PairedDifference:
        """b − a on the same items, with interval and test by document."""
        if a.corpus is not None and b.corpus is not None:
            return self._corpus_difference(a, a.corpus, b.corpus)
        found = paired(
            a.values,
            b.values,
            self.groups,
            draws=self.draws,
            seed=self.seed,
            higher_is_better=self.metric.higher_is_better is not False,
            bounds=self.metric.bounds,
        )
        return PairedDifference(
            n=found.n,
            unscored=found.unscored,
            num_groups=found.num_groups,
            mean=found.mean,
            ci=found.ci,
            p=found.p,
            smallest_p=found.smallest_p,
            better=found.better,
            worse=found.worse,
            relative=found.relative,
            method=found.ci.method if found.ci else f"no interval: {found.no_interval}",
        )

    def _corpus_difference(self, a: Scored, of_a: CorpusScore, of_b: CorpusScore) -> PairedDifference:
        groups = [self.groups[i] for i in a.positions]
        found = corpus_difference(of_a.parts, of_b.parts, groups, of_a.value, draws=self._corpus_draws, seed=self.seed)
        return PairedDifference(
            n=found.n,
            unscored=len(self.groups) - found.n,
            num_groups=found.num_groups,
            mean=found.difference,
            ci=found.ci,
            p=found.p,
            smallest_p=found.smallest_p,
            better=None,
            worse=None,
            relative=found.difference / abs(found.value_a) if found.difference is not None and found.value_a else None,
            method=found.ci.method if found.ci else found.reason,
        )

    @property
    def _corpus_draws(self) -> int:
        return min(self.draws, _CORPUS_DRAWS)


def ends(interval: Interval | None) -> list[float] | None:
    """`[low, high]`, as JSON shows an interval."""
    return None if interval is None else [interval.low, interval.high]
