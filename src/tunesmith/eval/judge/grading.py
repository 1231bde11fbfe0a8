"""Grades from 1 to 5 on the points of a rubric, for the answers of one system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.core.reporter import Reporter
from tunesmith.data.synth.judge import Graded, Judge
from tunesmith.data.synth.ledger import Estimate
from tunesmith.eval.judge.biases import Measured
from tunesmith.eval.metrics.text import num_words
from tunesmith.eval.predictions import Prediction
from tunesmith.eval.stats import summarise

__all__ = ["GradedAnswers", "grade_predictions"]

_PROMPT_TOKENS, _REPLY_TOKENS = 380, 60
_BOUNDS = (1.0, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedAnswers:
    """`points`: the mean grade on each point of the rubric, and `mean` over all points, with intervals clustered by document.
    `grades`: of each answer, in order; answers that could not be graded are counted in `unparsed` and in no mean."""

    points: Mapping[str, Measured]
    mean: Measured
    grades: tuple[Graded, ...]
    unparsed: int


def grade_predictions(
    rows: Sequence[Prediction], judge: Judge, *, reporter: Reporter, reference: bool = False
) -> GradedAnswers:
    """Every answer graded once. `reference`: the judge also sees the reference. GeneratorError as in `Judge.grade`."""
    words = sum(num_words(row.question) + num_words(row.prediction) for row in rows)
    estimate = Estimate(
        work=f"{len(rows):,} answers graded",
        requests=len(rows),
        prompt_tokens=_PROMPT_TOKENS * len(rows) + round(1.4 * words),
        completion_tokens=_REPLY_TOKENS * len(rows),
    )
    judge.generator.announce(estimate, reporter)

    def graded(row: Prediction) -> Graded:
        return judge.grade(row.question, row.prediction, reference=row.reference if reference else "")

    with reporter.progress("judge", total=len(rows), unit="answers") as progress:
        found = judge.generator.each(graded, rows, progress)
    groups = [row.group or row.id for row in rows]
    return GradedAnswers(
        points={name: _mean([one.points.get(name) for one in found], groups) for name in judge.rubric.points},
        mean=_mean([one.mean for one in found], groups),
        grades=tuple(found),
        unparsed=sum(one.mean is None for one in found),
    )


def _mean(values: Sequence[float | None], groups: Sequence[str]) -> Measured:
    found = summarise(values, groups, draws=2_000, bounds=_BOUNDS)
    ci = None if found.ci is None else (found.ci.low, found.ci.high)
    return Measured(value=found.mean, ci=ci, n=found.n, why_not=found.no_interval or "")
