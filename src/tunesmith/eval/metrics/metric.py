"""What a metric is: a number for an answer, with its unit, bounds, direction and needs, what it measures and what it misses.

A file of this package declares its metrics in a tuple named `METRICS`; `registry` finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = ["CorpusScore", "Expected", "Metric", "Need", "Scorer", "Task", "Unscored", "best_of", "each"]

Task = Literal["writing", "form", "questions", "labels", "extraction", "json", "code", "likelihood", "voice"]
Need = Literal["reference", "question", "schema", "tests"]


@dataclass(frozen=True, slots=True)
class Unscored:
    """The score of an answer that could not be scored, and why, in words for the user. Never counted as zero."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What an item gives a metric to score by. What it does not give is empty.

    `references`: the right answers, any of which will do. `labels`: the labels to choose from (empty: those of all references).
    `schema`: a JSON schema (2020-12). `tests`: Python code that raises if the answer, run before it, is wrong. `tolerance`:
    how far a number may be from the reference, as a share of it.
    """

    references: tuple[str, ...] = ()
    question: str | None = None
    labels: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    tests: str | None = None
    tolerance: float | None = None

    def lacks(self, need: Need) -> bool:
        """Whether the item does not give this."""
        found = {"reference": self.references, "question": self.question, "schema": self.schema, "tests": self.tests}[need]
        return found is None or found == ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusScore:
    """A score of all answers together: `value` of `parts`, one per answer, so that documents can be drawn again.

    `value` is None for parts that give no score.
    """

    parts: tuple[Any, ...]
    value: Callable[[Sequence[Any]], float | None]


Scorer = Callable[[Sequence[str], Sequence[Expected]], list[float | Unscored]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric. `measures` and `misses` are sentences for the user.

    `bounds`: the least and the greatest value that there can be. `higher_is_better` is None where neither direction is.
    `needs`: what an item must give. `score` gives one number per answer; `corpus` one for all answers together; a metric with
    neither is computed from a model's probabilities or from a trained classifier elsewhere. `runs_code`: answers are executed,
    which happens only on request. `slow`: a model reads each answer.
    A metric that needs to be told more is named `NAME:ARGUMENT`: `argument` is what that is, `scored_by` gives its scorer.
    """

    name: str
    label: str
    task: Task
    unit: str
    bounds: tuple[float, float]
    higher_is_better: bool | None
    measures: str
    misses: str
    needs: tuple[Need, ...] = ("reference",)
    score: Scorer | None = None
    corpus: Callable[[Sequence[str], Sequence[Expected]], CorpusScore] | None = None
    runs_code: bool = False
    slow: bool = False
    argument: str = ""
    scored_by: Callable[[str], Scorer] | None = None

    @property
    def description(self) -> str:
        """What it measures and what it misses, as one text."""
        return f"{self.measures} It misses: {self.misses}"

    def told(self, argument: str) -> Metric:
        """The metric with its argument, under its whole name. For metrics with `scored_by` alone."""
        if self.scored_by is None:
            raise ValueError(f"{self.name} takes no argument")
        label = f"{self.label} {argument.replace(',', ', ')}"
        return replace(self, name=f"{self.name}:{argument}", label=label, score=self.scored_by(argument))


def each(score: Callable[[str, Expected], float | Unscored]) -> Scorer:
    """A scorer that looks at one answer at a time."""

    def scorer(answers: Sequence[str], expected: Sequence[Expected]) -> list[float | Unscored]:
        return [score(answer, one) for answer, one in zip(answers, expected, strict=True)]

    return scorer


def best_of(score: Callable[[str, str], float | None], unscored: str) -> Scorer:
    """A scorer by `score(answer, reference)`: the highest over an item's references. `unscored`: why all of them gave None."""

    def best(answer: str, expected: Expected) -> float | Unscored:
        found = [value for reference in expected.references if (value := score(answer, reference)) is not None]
        return max(found) if found else Unscored(unscored)

    return each(best)
