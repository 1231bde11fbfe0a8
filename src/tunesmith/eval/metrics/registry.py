"""Which metrics there are: what the files of this package declare. Scoring answers with one of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType

from tunesmith.core.errors import EvaluationError
from tunesmith.eval import metrics
from tunesmith.eval.metrics.metric import CorpusScore, Expected, Metric, Need, Task, Unscored

__all__ = ["TASKS", "ScoredAnswers", "all_metrics", "corpus_score", "find_metric", "metric_named", "score_answers"]

TASKS: Mapping[Task, str] = MappingProxyType(
    {
        "writing": "Free text against a reference",
        "form": "The form of an answer",
        "questions": "Questions with a short right answer",
        "labels": "Classification",
        "extraction": "Extraction of entities and spans",
        "json": "Answers in JSON",
        "code": "Code",
        "likelihood": "Probabilities of a model",
        "voice": "The voice of an author",
    }
)
_LACKS: Mapping[Need, str] = MappingProxyType(
    {
        "reference": "the item has no reference",
        "question": "the item has no question",
        "schema": "the item has no JSON schema",
        "tests": "the item has no tests",
    }
)
_OFF = "running answers as code is off: it executes what a model wrote, so it has to be asked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnswers:
    """The scores of answers, in order. `values` has None for an unscored answer; `reasons` counts why."""

    values: tuple[float | None, ...]
    reasons: Mapping[str, int]


@cache
def all_metrics() -> Mapping[str, Metric]:
    """All metrics by name: by task, within a task in the order in which its files declare them.

    EvaluationError if two have one name.
    """
    modules = [importlib.import_module(f"{metrics.__name__}.{found.name}") for found in pkgutil.iter_modules(metrics.__path__)]
    declared: list[Metric] = [metric for module in modules for metric in getattr(module, "METRICS", ())]
    order = list(TASKS)
    found = {metric.name: metric for metric in sorted(declared, key=lambda metric: order.index(metric.task))}
    if len(found) < len(declared):
        double = next(name for name, count in Counter(metric.name for metric in declared).items() if count > 1)
        raise EvaluationError(
            "two files declare the same metric",
            value=double,
            expected="one metric for each name",
            hint=f"give one of the two another `name`: grep -rn 'name=\"{double}\"' {next(iter(metrics.__path__))}",
        )
    return MappingProxyType(found)


def find_metric(name: str) -> Metric | None:
    """The metric of that name, or None. A metric that takes an argument needs it, and another must have none."""
    kind, colon, argument = name.partition(":")
    found = all_metrics().get(kind)
    if found is None or bool(found.scored_by) != bool(argument.strip()) or (colon and not argument):
        return None
    return found.told(argument) if argument else found


def metric_named(name: str) -> Metric:
    """The metric of that name, `NAME:ARGUMENT` for one that takes an argument.

    EvaluationError with the nearest names if there is none, and for a missing argument.
    """
    found = find_metric(name)
    kind = name.partition(":")[0]
    bare = all_metrics().get(kind)
    if found is None and bare is not None and bare.argument:
        raise EvaluationError(
            f"the metric {kind} lacks what follows its name",
            value=name,
            expected=f"{kind}:{bare.argument}",
            hint="write it as docs/concepts/metrics.md shows it",
        )
    if found is None:
        near = get_close_matches(name, all_metrics(), n=1, cutoff=0.4)
        raise EvaluationError(
            "this metric does not exist",
            value=name,
            expected=", ".join(all_metrics()),
            hint=f"use the metric {(near or ['word_overlap'])[0]}",
        )
    return found


def score_answers(
    metric: Metric, answers: Sequence[str], expected: Sequence[Expected], *, run_code: bool = False
) -> ScoredAnswers:
    """The score of each answer. An answer whose item lacks what the metric needs is unscored, never zero.

    `run_code`: execute answers where the metric does that (`Metric.runs_code`); otherwise they are unscored.
    EvaluationError if the metric scores no single answers.
    """
    if metric.score is None:
        raise EvaluationError(
            f"{metric.label} is not a score of single answers",
            value=metric.name,
            expected="a metric with one number per answer",
            hint="use word_overlap, or another metric of docs/concepts/metrics.md",
        )
    ready = _ready(metric, answers, expected, run_code)
    scored = iter(metric.score([answers[i] for i in ready], [expected[i] for i in ready]))
    found = [next(scored) if i in ready else Unscored(_reason(metric, one, run_code)) for i, one in enumerate(expected)]
    return ScoredAnswers(
        values=tuple(None if isinstance(score, Unscored) else float(score) for score in found),
        reasons=dict(Counter(score.reason for score in found if isinstance(score, Unscored))),
    )


def corpus_score(metric: Metric, answers: Sequence[str], expected: Sequence[Expected]) -> tuple[CorpusScore, tuple[int, ...]]:
    """The score of all answers together, and the positions of those that are in it: items that give what the metric needs.

    EvaluationError if the metric has no such score.
    """
    if metric.corpus is None:
        raise EvaluationError(
            f"{metric.label} is not a score of all answers together",
            value=metric.name,
            expected=", ".join(name for name, one in all_metrics().items() if one.corpus is not None),
            hint="use the metric macro_f1",
        )
    ready = _ready(metric, answers, expected, run_code=False)
    return metric.corpus([answers[i] for i in ready], [expected[i] for i in ready]), tuple(ready)


def _ready(metric: Metric, answers: Sequence[str], expected: Sequence[Expected], run_code: bool) -> dict[int, None]:
    """The positions of the answers that can be scored, in order; a dict because it is searched."""
    if len(answers) != len(expected):
        raise ValueError(f"{len(answers)} answers to {len(expected)} items")
    return {i: None for i, one in enumerate(expected) if not _reason(metric, one, run_code)}


def _reason(metric: Metric, expected: Expected, run_code: bool) -> str:
    """Why an item cannot be scored; empty if it can."""
    if metric.runs_code and not run_code:
        return _OFF
    return next((_LACKS[need] for need in metric.needs if expected.lacks(need)), "")
