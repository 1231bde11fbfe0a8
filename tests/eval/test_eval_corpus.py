"""Promises of intervals and tests for numbers of all answers together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from tunesmith.eval.corpus import corpus_difference, corpus_interval
from tunesmith.eval.metrics.metric import Expected
from tunesmith.eval.metrics.registry import corpus_score, metric_named
from tunesmith.eval.stats import summarise


def mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def sample(documents: int, seed: int = 7) -> tuple[list[float], list[str]]:
    rng = np.random.default_rng(seed)
    values = [float(center + noise) for center in rng.normal(size=documents) for noise in rng.normal(size=4)]
    return values, [str(number) for number in range(documents) for _ in range(4)]


def test_for_a_mean_the_interval_is_close_to_the_one_of_means() -> None:
    values, groups = sample(30)
    ours, theirs = corpus_interval(values, groups, mean), summarise(values, groups, draws=4000).ci
    assert ours.ci is not None and theirs is not None
    assert ours.value == pytest.approx(np.mean(values))
    width = theirs.high - theirs.low
    assert ours.ci.low == pytest.approx(theirs.low, abs=0.12 * width)
    assert ours.ci.high == pytest.approx(theirs.high, abs=0.12 * width)


def test_p_is_the_share_of_exchanges_of_documents_with_as_great_a_difference() -> None:
    a, groups = sample(8)
    b = [value + 0.5 for value in sample(8, seed=8)[0]]
    found = corpus_difference(a, b, groups, mean)
    by_document = np.array([x - y for x, y in zip(b, a, strict=True)]).reshape(8, 4).mean(1)
    totals = [abs(float(np.dot(signs, by_document))) for signs in product((-1, 1), repeat=8)]
    assert found.difference == pytest.approx(by_document.mean())
    assert found.p == np.mean([total >= abs(by_document.sum()) - 1e-9 for total in totals])
    assert found.smallest_p == 2 / 2**8


def test_documents_are_drawn_and_not_items() -> None:
    values, groups = sample(12)
    by_document = corpus_interval(values, groups, mean).ci
    by_item = corpus_interval(values, [str(i) for i in range(len(values))], mean).ci
    assert by_document is not None and by_item is not None
    assert by_document.high - by_document.low > 1.3 * (by_item.high - by_item.low)


@pytest.mark.slow
def test_the_interval_of_macro_f1_holds_the_true_value_about_as_often_as_it_says() -> None:
    """Answers of known error rates: the true macro-F1 follows from the rates. 12 documents, whose difficulty varies."""
    rng = np.random.default_rng(7)
    labels, metric = ["a", "b", "c"], metric_named("macro_f1")

    def answers(documents: int) -> tuple[list[str], list[str], list[str]]:
        right, given, groups = [], [], []
        for number in range(documents):
            hit = rng.uniform(0.5, 0.9)
            for _ in range(6):
                label = labels[int(rng.integers(3))]
                right.append(label)
                given.append(label if rng.random() < hit else labels[int(rng.integers(3))])
                groups.append(str(number))
        return right, given, groups

    def score(right: list[str], given: list[str]) -> tuple[object, ...]:
        found, _ = corpus_score(metric, given, [Expected(references=(r,), labels=tuple(labels)) for r in right])
        return found.parts

    value = corpus_score(metric, ["a"], [Expected(references=("a",))])[0].value
    right, given, _ = answers(5000)
    truth = value(score(right, given))
    assert truth is not None
    held = 0
    for _ in range(150):
        right, given, groups = answers(12)
        ci = corpus_interval(score(right, given), groups, value, draws=200).ci
        held += ci is not None and ci.low <= truth <= ci.high
    assert 0.89 <= held / 150 <= 1.0


def test_one_document_and_no_spread_give_no_interval_but_a_reason() -> None:
    assert corpus_interval([1.0, 2.0], ["x", "x"], mean).reason == "one document has no interval"
    constant = corpus_interval([1.0] * 6, list("abcdef"), mean)
    assert (constant.value, constant.ci) == (1.0, None) and "nothing is known of its spread" in constant.reason
    assert corpus_interval([], [], mean).reason == "no number"


def test_a_number_that_many_draws_do_not_have_has_no_interval() -> None:
    def rare(values: Sequence[float]) -> float | None:
        return float(np.mean(values)) if 9.0 in values else None

    found = corpus_interval([9.0, 1.0, 2.0, 3.0], list("abcd"), rare, draws=300)
    assert found.value is not None and found.ci is None and "give no number" in found.reason


def test_the_interval_is_cut_at_the_bounds() -> None:
    values, groups = sample(6)
    found = corpus_interval(values, groups, mean, bounds=(-0.01, 0.01))
    assert found.ci is not None and found.ci.low >= -0.01 and found.ci.high <= 0.01


def test_a_system_against_itself_differs_by_nothing() -> None:
    values, groups = sample(10)
    found = corpus_difference(values, values, groups, mean)
    assert (found.difference, found.p, found.ci) == (0.0, 1.0, None)
