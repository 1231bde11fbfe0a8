"""Promises of the registry of metrics: each says what it measures and misses, and an item without what it needs is unscored."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.measured import METRICS
from tunesmith.eval.metrics import registry, text
from tunesmith.eval.metrics.metric import Expected, Metric
from tunesmith.eval.metrics.registry import TASKS, all_metrics, corpus_score, find_metric, metric_named, score_answers
from tunesmith.eval.metrics_page import metrics_page

ROOT = Path(__file__).parents[2]
OF_TEXT = [m for m in all_metrics().values() if m.score is not None and not m.runs_code and m.name != "bertscore"]
FULL = Expected(references=("a",), question="q", schema={}, tests="")


@pytest.mark.parametrize("metric", all_metrics().values(), ids=lambda metric: metric.name)
def test_every_metric_says_what_it_measures_what_it_misses_and_how_it_is_read(metric: Metric) -> None:
    assert metric.task in TASKS
    assert metric.label and metric.unit
    assert metric.measures.endswith(".") and metric.measures[0].isupper()
    assert metric.misses.endswith(".") and len(metric.misses) > 20
    assert metric.bounds[0] < metric.bounds[1]
    assert not (metric.score and metric.corpus)
    assert metric.misses in metric.description and metric.measures in metric.description


@pytest.mark.parametrize("task", ["writing", "questions", "labels", "extraction", "json", "code", "likelihood", "form"])
def test_every_task_has_a_metric(task: str) -> None:
    assert [metric for metric in all_metrics().values() if metric.task == task]


@settings(max_examples=40)
@given(st.text(max_size=60), st.text(max_size=60))
def test_every_score_is_in_its_bounds_or_unscored_with_a_reason(answer: str, reference: str) -> None:
    expected = Expected(references=(reference,), question="why", schema={"type": "object"})
    for metric in OF_TEXT:
        scored = score_answers(metric, [answer], [expected])
        value = scored.values[0]
        assert value is None or metric.bounds[0] - 1e-9 <= value <= metric.bounds[1] + 1e-9, metric.name
        assert (value is None) == (sum(scored.reasons.values()) == 1), metric.name


@pytest.mark.parametrize("metric", [m for m in OF_TEXT if m.needs], ids=lambda metric: metric.name)
def test_an_item_without_what_a_metric_needs_is_unscored_with_the_reason_and_never_zero(metric: Metric) -> None:
    scored = score_answers(metric, ["an answer", "an answer"], [Expected(), Expected()])
    assert scored.values == (None, None)
    assert list(scored.reasons.values()) == [2] and next(iter(scored.reasons)).startswith("the item has no ")


@pytest.mark.parametrize("name", ["json_field", "json_field:", "json_field: "])
def test_a_metric_that_needs_an_argument_says_which(name: str) -> None:
    with pytest.raises(EvaluationError, match="json_field:FIELD"):
        metric_named(name)
    assert find_metric(name) is None


def test_an_argument_to_a_metric_that_takes_none_is_no_metric() -> None:
    assert find_metric("exact_match:a") is None
    with pytest.raises(EvaluationError, match="exact_match:a"):
        metric_named("exact_match:a")


def test_an_item_that_lacks_something_does_not_shift_the_scores_of_the_others() -> None:
    metric = metric_named("token_f1")
    answers, expected = ["a b", "x", "c"], [Expected(references=("b",)), Expected(), Expected(references=("c",))]
    assert score_answers(metric, answers, expected).values == (1.0, None, 1.0)


def test_the_best_of_several_references_counts() -> None:
    scored = score_answers(metric_named("word_overlap"), ["red green"], [Expected(references=("blue", "red green", "red"))])
    assert scored.values == (1.0,)
    ratio = score_answers(metric_named("length_ratio"), ["one two"], [Expected(references=("1 2 3 4", "1 2 3"))])
    assert list(ratio.values) == pytest.approx([2 / 3])


def test_an_unknown_metric_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(EvaluationError, match="macro_f1") as caught:
        metric_named("macrof1")
    assert caught.value.problems[0].hint == "use the metric macro_f1"


def test_a_metric_of_all_answers_scores_no_single_one_and_the_other_way_round() -> None:
    with pytest.raises(EvaluationError, match="not a score of single answers"):
        score_answers(metric_named("macro_f1"), ["a"], [FULL])
    with pytest.raises(EvaluationError, match="not a score of all answers"):
        corpus_score(metric_named("accuracy"), ["a"], [FULL])


def test_two_metrics_with_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "METRICS", (*text.METRICS, replace(text.METRICS[0], name="accuracy")))
    registry.all_metrics.cache_clear()
    try:
        with pytest.raises(EvaluationError, match="accuracy"):
            all_metrics()
    finally:
        registry.all_metrics.cache_clear()


def test_code_is_not_run_unless_that_was_asked_for() -> None:
    metric = metric_named("code_passes")
    scored = score_answers(metric, ["raise SystemExit"], [Expected(tests="")])
    assert scored.values == (None,) and "has to be asked for" in next(iter(scored.reasons))


def test_the_page_of_the_metrics_is_the_one_that_the_registry_makes() -> None:
    page = (ROOT / "docs" / "concepts" / "metrics.md").read_text(encoding="utf-8")
    assert page == metrics_page(), "make it again: python -m tunesmith.api.reference metrics > docs/concepts/metrics.md"
    assert all(f"**`{name}`**" in page for name in all_metrics())


def test_an_evaluation_measures_metrics_of_the_registry() -> None:
    assert all(all_metrics()[name] is metric for name, metric in METRICS.items())
    assert METRICS["answer_words"].bounds == (0.0, math.inf)
