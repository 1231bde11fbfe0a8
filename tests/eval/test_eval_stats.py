"""Promises of the statistics: known values, edge cases, invariances. Calibration stands in test_eval_calibration.py."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, ttest_1samp

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.document_means import _bounded_arms, interval_arms, sign_flip, skewness, t_test, t_test_arms
from tunesmith.eval.stats import holm, paired, summarise

rng = np.random.default_rng(3)
VALUES = rng.normal(size=60).tolist()
GROUPS = [f"d{i // 4}" for i in range(60)]


def test_a_summary_has_the_figures_that_numpy_gives() -> None:
    summary = summarise([1.0, 2.0, None, 6.0], ["a", "a", "b", "b"])
    assert (summary.n, summary.unscored, summary.num_groups) == (3, 1, 2)
    assert (summary.median, summary.min, summary.max) == (2.0, 1.0, 6.0)
    assert summary.std == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert summary.mean == 3.75  # the mean of the documents' means 1.5 and 6
    assert summary.ci is not None
    assert summary.ci.low < 3.75 < summary.ci.high
    items = summarise([1.0, 2.0, None, 6.0], ["a", "a", "b", "b"], weighting="items")
    assert items.mean == 3.0
    assert items.effective_documents == pytest.approx(1.8)


def test_a_document_with_most_of_the_items_counts_as_any_other() -> None:
    values, groups = [5.0] * 80 + VALUES[:20], ["giant"] * 80 + [str(n) for n in range(20)]
    once = summarise([5.0, *VALUES[:20]], ["giant", *(str(n) for n in range(20))])
    weighed = summarise(values, groups)
    assert weighed.ci is not None and once.ci is not None
    assert weighed.mean == pytest.approx(once.mean)
    assert weighed.effective_documents == 21
    assert [weighed.ci.low, weighed.ci.high] == pytest.approx([once.ci.low, once.ci.high])
    items = summarise(values, groups, weighting="items")
    assert items.mean is not None and items.mean > 3.5 and items.effective_documents < 2


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


def test_equal_values_have_no_spread_and_no_interval_without_width() -> None:
    summary = summarise([0.1] * 7, list("abcdefg"))
    assert summary.mean == pytest.approx(0.1)
    assert summary.ci is None
    assert summary.no_interval is not None and "no spread" in summary.no_interval
    within = summarise([0.0] * 7, list("abcdefg"), bounds=(0.0, 1.0)).ci
    assert within is not None
    assert within.low == 0 and within.high == pytest.approx(1 - 0.025 ** (1 / 7))  # Clopper & Pearson for 0 of 7


def test_nothing_right_against_nothing_right_tells_nothing() -> None:
    difference = paired([0.0] * 40, [0.0] * 40, [str(n) for n in range(40)], bounds=(0.0, 1.0))
    assert difference.ci is not None and difference.p == 1.0
    assert -difference.ci.low == difference.ci.high == pytest.approx(1 - 0.025 ** (1 / 40))
    assert "same value" in difference.ci.method


@pytest.mark.parametrize(("documents", "clear"), [(6, False), (20, True)])
def test_one_gain_everywhere_is_evidence_only_over_enough_documents(documents: int, clear: bool) -> None:
    groups = [str(n) for n in range(documents)]
    difference = paired([0.0] * documents, [0.5] * documents, groups, bounds=(0.0, 1.0))
    assert difference.ci is not None
    assert (difference.ci.low > 0) is clear
    assert difference.ci.low < 0.5 < difference.ci.high
    # had a share of documents lost everything, the mean would be this low and seeing none of them this unlikely
    unseen = 1 - 0.025 ** (1 / documents)
    assert difference.ci.low == pytest.approx(0.5 * (1 - unseen) - unseen)
    free = paired([0.0] * documents, [0.5] * documents, groups)
    assert free.ci is None and free.no_interval is not None


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
    with pytest.raises(EvaluationError, match="level"):
        paired([1.0], [1.0], ["a"], level=95)


def test_the_interval_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert summarise(VALUES, GROUPS, seed=1) == summarise(VALUES, GROUPS, seed=1)
    assert summarise(VALUES, GROUPS, seed=1) != summarise(VALUES, GROUPS, seed=2)


def test_draws_in_many_chunks_agree_with_draws_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = summarise(VALUES, GROUPS).ci
    monkeypatch.setattr("tunesmith.eval.document_means._CHUNK", 5_000)
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
    means = [np.mean(values[n::7]) for n in range(min(7, len(values)))]
    assume(np.ptp(means) > 1e-6)
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


def test_the_interval_of_a_share_stays_within_its_bounds_and_that_of_a_difference_too() -> None:
    values = [1.0] * 11 + [0.6]
    free, bound = summarise(values, list("abcdefghijkl")), summarise(values, list("abcdefghijkl"), bounds=(0.0, 1.0))
    assert free.ci is not None and bound.ci is not None
    assert bound.ci.high <= 1.0
    assert bound.ci.low == free.ci.low
    difference = paired([0.0, 0.0, 1.0], [1.0, 1.0, 0.9], ["a", "b", "c"], bounds=(0.0, 1.0)).ci
    assert difference is not None and (difference.low, difference.high) == (-1.0, 1.0)


def test_a_higher_level_gives_a_wider_interval_that_says_so() -> None:
    widths = []
    for level in (0.95, 0.983, 0.992):
        ci = summarise(VALUES, GROUPS, level=level).ci
        assert ci is not None and ci.level == level
        widths.append(ci.high - ci.low)
    assert widths == sorted(widths) and widths[0] < widths[2]


@pytest.mark.parametrize("shape", ["symmetric", "skewed"])
def test_without_skewness_the_bootstrap_arms_are_those_of_scipy(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = rng.normal(size=30) if shape == "symmetric" else rng.exponential(size=30)
    found = bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)).confidence_interval
    monkeypatch.setattr("tunesmith.eval.document_means._skewed_t_arms", lambda *args, **options: (0.0, 0.0))
    below, above = interval_arms(values[:, None], level=0.95, draws=20_000, seed=1, freedom=29)
    widened = math.sqrt(30 / 29) * 2.04523 / 1.959964  # t(29) / z
    assert below[0] / widened == pytest.approx(values.mean() - found.low, rel=0.06)
    assert above[0] / widened == pytest.approx(found.high - values.mean(), rel=0.06)


def bent(t: float, skew: float, n: int) -> float:
    """Hall 1992, equation for g(t) of the studentised mean: a = 1/3, b = 1/6."""
    return t + skew * t**2 / (3 * math.sqrt(n)) + skew**2 * t**3 / (27 * n) + skew / (6 * math.sqrt(n))


@pytest.mark.parametrize("side", [1, -1])
def test_the_t_test_reaches_where_halls_transformed_t_with_twice_the_skewness_is_the_quantile(side: int) -> None:
    values = side * np.random.default_rng(2).exponential(size=20)[:, None]
    below, above = t_test_arms(values, level=0.95)
    error, skew = values.std(ddof=1) / math.sqrt(20), 2 * float(skewness(values)[0])
    long_arm, short_arm = (above, below) if side > 0 else (below, above)
    assert abs(bent(-side * float(long_arm[0]) / error, skew, 20)) == pytest.approx(2.093024, rel=1e-5)  # t(19)
    assert float(short_arm[0]) == pytest.approx(2.093024 * error)  # not made shorter


def test_one_document_far_from_all_others_lengthens_the_arm_on_its_side_at_most_to_twice_the_others() -> None:
    values = np.append(np.random.default_rng(2).normal(size=19), 9.0)[:, None]
    below, above = interval_arms(values, level=0.95, draws=2000, seed=1)
    assert above[0] == pytest.approx(2 * 2.093024 * values.std(ddof=1) / math.sqrt(20))
    assert below[0] < 1.1 * above[0] / 2


def gaffke_low(values: list[float], least: float, draws: int = 40_000) -> float:
    """Gaffke 2005, by his own recipe: sorted values, differences weighted by sorted uniform numbers; the 2.5 % quantile."""
    uniform = np.sort(np.random.default_rng(5).uniform(size=(draws, len(values))), axis=1)
    steps = np.diff(np.concatenate([[least], np.sort(values)]))
    return float(np.quantile(least + (1 - uniform) @ steps, 0.025))


def test_the_bound_for_any_distribution_is_gaffkes() -> None:
    values = [1.0] * 7 + [0.25, 0.0, 0.0]
    below, above = _bounded_arms(np.array(values)[:, None], (-1.0, 1.0), 0.95, 40_000, 1)
    assert np.mean(values) - below[0] == pytest.approx(gaffke_low(values, -1.0), abs=0.01)
    assert np.mean(values) + above[0] == pytest.approx(-gaffke_low([-value for value in values], -1.0), abs=0.01)


@pytest.mark.parametrize("share", [0.4, 0.9])
def test_if_all_documents_agree_the_bound_is_that_of_what_is_possible(share: float) -> None:
    below, _ = _bounded_arms(np.full((20, 1), share), (0.0, 1.0), 0.95, 40_000, 1)
    summary = summarise([share] * 20, [str(n) for n in range(20)], bounds=(0.0, 1.0))
    assert summary.ci is not None
    assert share - below[0] == pytest.approx(summary.ci.low, abs=0.005)


def test_gains_of_many_documents_and_losses_of_none_are_evidence_though_they_are_skewed() -> None:
    gains, groups = [1.0] * 7 + [0.0] * 3, [str(n) for n in range(10)]
    within = paired([0.0] * 10, gains, groups, bounds=(0.0, 1.0))
    assert within.ci is not None and within.p is not None
    assert within.ci.low > 0.1 and within.p == 2 / 2**7
    free = paired([0.0] * 10, gains, groups)  # without limits, a document not seen may lose any amount
    assert free.ci is not None and free.p is not None
    assert free.ci.low < 0.05 and free.p > 0.1


@settings(max_examples=60)
@given(st.lists(st.integers(-20, 30), min_size=6, max_size=15), st.integers(-10, 10))
def test_p_of_the_adjusted_t_test_says_whether_the_null_lies_beyond_its_arms(whole: list[int], null: int) -> None:
    values = np.array(whole, dtype=np.float64)[:, None]
    assume(np.ptp(values) > 0)
    p = float(t_test(values.mean(0) - null, values)[0])
    assume(abs(p - 0.05) > 1e-6)
    below, above = t_test_arms(values, level=0.95)
    outside = not values.mean() - below[0] <= null <= values.mean() + above[0]
    assert outside == (p <= 0.05)


def test_the_exact_sign_flip_p_is_what_full_enumeration_counts() -> None:
    a, b = VALUES[:12], rng.normal(loc=0.5, size=12).tolist()
    groups = [f"d{i // 2}" for i in range(12)]
    means = np.add.reduceat(np.array(b) - np.array(a), range(0, 12, 2)) / 2
    totals = [abs(float(np.dot(signs, means))) for signs in itertools.product((1, -1), repeat=6)]
    expected = sum(total >= abs(means.sum()) - 1e-12 for total in totals) / 64
    p, smallest = sign_flip(means[:, None], draws=10_000, seed=1)
    assert (p[0], smallest) == (pytest.approx(expected), 2 / 64)
    difference = paired(a, b, groups)
    assert difference.p == pytest.approx(max(expected, float(t_test(means[:, None].mean(0), means[:, None])[0])))
    assert difference.smallest_p == 2 / 64


def test_p_asks_whether_the_gain_is_more_than_the_margin() -> None:
    b, groups = (0.1 * rng.normal(size=12) + 0.5).tolist(), [str(n) for n in range(12)]
    p_values = [paired([0.0] * 12, b, groups, margin=margin).p for margin in (-0.5, 0.0, 0.4, 0.5, 0.6, 1.5)]
    assert all(p is not None for p in p_values)
    assert p_values[0] == p_values[1] == 2 / 4096 < p_values[2]  # type: ignore[operator]
    assert p_values[3] > 0.2  # type: ignore[operator]
    assert p_values[5] == 2 / 4096  # two-sided: clearly less than the margin
    falling = paired(b, [0.0] * 12, groups, margin=0.4, higher_is_better=False)
    assert (falling.p, falling.margin) == (p_values[2], 0.4)


def test_items_weighted_p_of_equal_documents_is_that_of_documents() -> None:
    b = rng.normal(loc=0.3, size=60).tolist()
    one, other = (paired(VALUES, b, GROUPS, margin=0.05, weighting=weighting) for weighting in ("documents", "items"))
    assert one.p == pytest.approx(other.p)
    assert one.ci is not None and other.ci is not None
    assert [one.ci.low, one.ci.high] == pytest.approx([other.ci.low, other.ci.high])


def warned(b: list[float], groups: list[str] | None = None, *, rising: bool = True) -> str:
    return " / ".join(paired([0.0] * len(b), b, groups or [str(n) for n in range(len(b))], higher_is_better=rising).warnings)


def test_few_skewed_and_unequal_documents_are_warned_of() -> None:
    assert warned(VALUES[:20]) == ""
    assert "9 documents are few" in warned(VALUES[:9])
    losers = [0.2, 0.3, 0.25, 0.21, 0.27] * 4 + [-5.0]
    assert "a few documents lose much more than the others gain" in warned(losers)
    assert "a few documents gain much more than the others lose" in warned(losers, rising=False)
    giant = ["giant"] * 20 + [str(n) for n in range(20)]
    assert "one document has 50 % of the items: it counts as much as any other" in warned(VALUES[:40], giant)
    assert "the mean rests mainly on it" in paired(VALUES[:40], [0.0] * 40, giant, weighting="items").warnings[-1]


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
