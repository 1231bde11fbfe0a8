"""Promises of the statistics: known values, edge cases, invariances. Calibration stands in test_eval_calibration.py."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, ttest_1samp

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.stats import detectable_effect, holm, paired, summarise

rng = np.random.default_rng(3)
VALUES = rng.normal(size=60).tolist()
GROUPS = [f"d{i // 4}" for i in range(60)]


def test_a_summary_has_the_figures_that_numpy_gives() -> None:
    summary = summarise([1.0, 2.0, None, 6.0], ["a", "a", "b", "b"])
    assert (summary.n, summary.unscored, summary.num_groups) == (3, 1, 2)
    assert (summary.mean, summary.median, summary.min, summary.max) == (3.0, 2.0, 1.0, 6.0)
    assert summary.std == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert summary.ci is not None
    assert summary.ci.low < 3.0 < summary.ci.high


def test_nothing_scored_gives_none_and_never_zero() -> None:
    summary = summarise([None, None], ["a", "b"])
    assert (summary.n, summary.unscored, summary.mean, summary.ci, summary.std) == (0, 2, None, None, None)
    difference = paired([None, 1.0], [1.0, None], ["a", "b"])
    assert (difference.n, difference.unscored, difference.mean, difference.p) == (0, 2, None, None)


def test_one_document_has_no_interval() -> None:
    assert summarise([1.0, 2.0, 3.0], ["a", "a", "a"]).ci is None
    difference = paired([1.0, 2.0], [2.0, 3.0], ["a", "a"])
    assert difference.ci is None
    assert (difference.p, difference.smallest_p) == (1.0, 1.0)


def test_equal_values_give_an_interval_without_width_that_says_so() -> None:
    summary = summarise([0.1] * 7, list("abcdefg"))
    ci = summary.ci
    assert ci is not None
    assert ci.low == ci.high == summary.mean == pytest.approx(0.1)
    assert "equal" in ci.method


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_refused(wrong: float) -> None:
    with pytest.raises(EvaluationError, match="finite"):
        summarise([1.0, wrong], ["a", "b"])
    with pytest.raises(EvaluationError, match="finite"):
        paired([1.0, wrong], [1.0, 2.0], ["a", "b"])
    with pytest.raises(EvaluationError, match="finite"):
        paired([1.0, wrong], [1.0, None], ["a", "b"])


def test_scores_and_groups_of_unequal_length_are_refused() -> None:
    with pytest.raises(EvaluationError, match="length"):
        summarise([1.0], ["a", "b"])
    with pytest.raises(EvaluationError, match="length"):
        paired([1.0], [1.0, 2.0], ["a"])
    with pytest.raises(EvaluationError, match="draws"):
        summarise([1.0], ["a"], draws=0)


def test_the_interval_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert summarise(VALUES, GROUPS, seed=1) == summarise(VALUES, GROUPS, seed=1)
    assert summarise(VALUES, GROUPS, seed=1) != summarise(VALUES, GROUPS, seed=2)


def test_draws_in_many_chunks_agree_with_draws_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = summarise(VALUES, GROUPS).ci
    monkeypatch.setattr("tunesmith.eval.stats._CHUNK", 5_000)
    parts = summarise(VALUES, GROUPS).ci
    assert whole is not None and parts is not None
    assert parts.low == pytest.approx(whole.low, abs=0.02)
    assert parts.high == pytest.approx(whole.high, abs=0.02)


def test_many_documents_give_the_interval_of_the_t_test() -> None:
    values = rng.normal(loc=2, size=400)
    ci = summarise(values.tolist(), [str(i) for i in range(400)]).ci
    low, high = ttest_1samp(values, 0).confidence_interval()
    assert ci is not None
    assert ci.low == pytest.approx(low, abs=0.02)
    assert ci.high == pytest.approx(high, abs=0.02)


def test_documents_widen_the_interval_if_their_items_are_alike() -> None:
    level = np.repeat(rng.normal(size=15), 4)
    values = (level + 0.1 * rng.normal(size=60)).tolist()
    clustered, alone = summarise(values, GROUPS).ci, summarise(values, [str(i) for i in range(60)]).ci
    assert clustered is not None and alone is not None
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)


@settings(max_examples=40)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30), st.floats(-1000, 1000))
def test_the_interval_moves_with_the_values_and_holds_the_mean(values: list[float], shift: float) -> None:
    groups = [str(i % 7) for i in range(len(values))]
    summary = summarise(values, groups, draws=300)
    moved = summarise([v + shift for v in values], groups, draws=300)
    assert summary.ci is not None and moved.ci is not None and summary.mean is not None
    assert summary.ci.low <= summary.mean <= summary.ci.high
    assert moved.ci.low == pytest.approx(summary.ci.low + shift, abs=1e-6)
    assert moved.ci.high == pytest.approx(summary.ci.high + shift, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1e120])
def test_the_interval_scales_with_the_values_however_small_or_large(scale: float) -> None:
    plain, scaled = summarise(VALUES, GROUPS).ci, summarise([v * scale for v in VALUES], GROUPS).ci
    assert plain is not None and scaled is not None
    assert scaled.low == pytest.approx(plain.low * scale, rel=1e-9)
    assert scaled.high == pytest.approx(plain.high * scale, rel=1e-9)


def test_the_interval_of_a_share_stays_within_its_bounds() -> None:
    values = [1.0] * 11 + [0.6]
    free, bound = summarise(values, list("abcdefghijkl")), summarise(values, list("abcdefghijkl"), bounds=(0.0, 1.0))
    assert free.ci is not None and bound.ci is not None
    assert bound.ci.high <= 1.0
    assert bound.ci.low == free.ci.low


def test_the_exact_sign_flip_p_is_what_full_enumeration_counts() -> None:
    a, b = VALUES[:12], rng.normal(loc=0.5, size=12).tolist()
    groups = [f"d{i // 2}" for i in range(12)]
    sums = np.add.reduceat(np.array(b) - np.array(a), range(0, 12, 2))
    totals = [abs(float(np.dot(signs, sums))) for signs in itertools.product((1, -1), repeat=6)]
    expected = sum(total >= abs(sums.sum()) - 1e-12 for total in totals) / 64
    difference = paired(a, b, groups)
    assert difference.p == pytest.approx(expected)
    assert difference.smallest_p == 2 / 64


def test_a_change_for_the_better_everywhere_reaches_the_smallest_p() -> None:
    difference = paired([0.0] * 6, [1.0, 2.0, 1.5, 1.2, 3.0, 2.2], list("abcdef"))
    assert difference.p == difference.smallest_p == 2 / 64


def test_drawn_sign_flips_agree_with_counted_ones() -> None:
    a, b, groups = [0.0] * 12, rng.normal(loc=0.4, size=12).tolist(), [str(i) for i in range(12)]
    counted, drawn = paired(a, b, groups, draws=5000), paired(a, b, groups, draws=4000)
    assert counted.p is not None and drawn.p is not None
    assert counted.smallest_p == 2 / 4096
    assert drawn.p == pytest.approx(counted.p, abs=0.03)
    assert drawn.p >= 1 / 4001


def test_a_system_compared_with_itself_differs_by_nothing() -> None:
    difference = paired(VALUES, VALUES, GROUPS)
    assert (difference.mean, difference.p, difference.better, difference.worse) == (0.0, 1.0, 0, 0)


def test_the_sides_of_a_comparison_can_be_exchanged() -> None:
    other = rng.normal(size=60).tolist()
    there, back = paired(VALUES, other, GROUPS), paired(other, VALUES, GROUPS)
    assert there.mean is not None and back.mean is not None
    assert there.mean == pytest.approx(-back.mean)
    assert there.p == back.p
    assert (there.better, there.worse) == (back.worse, back.better)


def test_better_follows_the_direction_of_the_metric() -> None:
    a, b, groups = [1.0, 1.0, 1.0], [0.5, 0.5, 1.0], ["x", "y", "z"]
    rising, falling = paired(a, b, groups), paired(a, b, groups, higher_is_better=False)
    assert (rising.better, rising.worse) == (0, 2)
    assert (falling.better, falling.worse) == (2, 0)


def test_unscored_items_are_left_out_of_both_sides_and_counted() -> None:
    difference = paired([1.0, None, 3.0, 4.0], [2.0, 5.0, None, 6.0], ["a", "b", "c", "d"])
    assert (difference.n, difference.unscored, difference.num_groups) == (2, 2, 2)
    assert (difference.mean_a, difference.mean_b, difference.mean) == (2.5, 4.0, 1.5)
    assert difference.relative == pytest.approx(0.6)


def test_relative_to_nothing_is_not_a_number_but_none() -> None:
    assert paired([0.0, 0.0], [1.0, 1.0], ["a", "b"]).relative is None
    assert paired([-2.0, -2.0], [-1.0, -1.0], ["a", "b"]).relative == pytest.approx(0.5)


def test_holm_adjusts_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_never_lowers_a_p(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(after >= before and after <= 1 for before, after in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


def test_the_detectable_effect_of_many_documents_is_the_textbook_one() -> None:
    # a two-sided paired t test with n = 100 finds d = 0.283 with power 0.8 (Cohen 1988, ch. 2)
    assert detectable_effect(100) == pytest.approx(0.283, abs=0.002)
    effects = [detectable_effect(n) for n in (6, 8, 14, 40, 41, 100, 1000)]
    assert effects == sorted(effects, reverse=True)  # type: ignore[type-var]


def test_six_documents_find_what_puts_all_six_on_one_side_four_times_in_five() -> None:
    # p ≤ 0.05 needs all six gains: Φ(d)^6 = 0.8 gives d = 1.79; a t test would promise 1.43
    assert detectable_effect(6) == pytest.approx(norm.ppf(0.8 ** (1 / 6)), rel=0.05)
    assert detectable_effect(6) == detectable_effect(6)


def test_too_few_documents_to_pass_promise_no_effect() -> None:
    assert [detectable_effect(n) for n in (0, 1, 2, 5)] == [None] * 4
    assert detectable_effect(5, min_groups=2) is None
    assert detectable_effect(9, min_groups=10) is None and detectable_effect(10, min_groups=10) is not None


def found_by_the_rule(documents: int, effect: float, repetitions: int = 400) -> float:
    """How often sign-flip test and interval together find a true difference of so many standard deviations."""
    noise = np.random.default_rng([11, documents]).normal(size=(repetitions, documents))
    names, zeros = [str(n) for n in range(documents)], [0.0] * documents
    count = 0
    for row in noise + effect:
        found = paired(zeros, row.tolist(), names, draws=2000)
        count += found.ci is not None and found.ci.low > 0 and found.p is not None and found.p <= 0.05
    return count / repetitions


@pytest.mark.parametrize("documents", [6, 8, 14])
def test_the_detectable_effect_is_found_four_times_in_five_by_the_rule_of_the_gate(documents: int) -> None:
    effect = detectable_effect(documents)
    assert effect is not None
    assert found_by_the_rule(documents, effect) == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / 400))


def test_the_effect_that_a_t_test_promises_for_six_documents_is_found_less_often() -> None:
    assert found_by_the_rule(6, 1.435) < 0.8 - 3 * math.sqrt(0.8 * 0.2 / 400)
