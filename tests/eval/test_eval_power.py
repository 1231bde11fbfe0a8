"""Promises of the power: the effect that is called detectable is found as often as said, by the rule of the gate itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from tunesmith.eval.power import detectable_effect, t_test_effect
from tunesmith.eval.stats import paired


def test_the_detectable_effect_of_many_documents_is_nearly_the_textbook_one() -> None:
    # a two-sided paired t test with n = 100 finds d = 0.283 with power 0.8 (Cohen 1988, ch. 2)
    textbook = t_test_effect(100, 0.8, 0.95)
    assert textbook == pytest.approx(0.283, abs=0.001)
    found = detectable_effect(100)
    assert found is not None and textbook < found < 1.04 * textbook
    effects = [detectable_effect(n) for n in (6, 8, 14, 40, 41, 200, 201, 1000)]
    assert effects == sorted(effects, reverse=True)  # type: ignore[type-var]


def test_six_documents_need_more_than_all_six_on_one_side() -> None:
    # p ≤ 0.05 needs all six gains: Φ(d)^6 = 0.8 gives d = 1.79; a t test would promise 1.43
    found = detectable_effect(6)
    assert found is not None and norm.ppf(0.8 ** (1 / 6)) < found < 3
    assert found == detectable_effect(6)


def test_too_few_documents_to_pass_promise_no_effect() -> None:
    assert [detectable_effect(n) for n in (0, 1, 2, 5)] == [None] * 4
    assert detectable_effect(5, min_groups=2) is None
    assert detectable_effect(9, min_groups=10) is None and detectable_effect(10, min_groups=10) is not None


def test_a_higher_level_needs_more_documents_and_a_larger_effect() -> None:
    assert detectable_effect(7, level=0.992) is None  # 2 / 2^7 is more than 0.008
    effects = [detectable_effect(12, level=level) for level in (0.95, 0.983, 0.992)]
    assert all(effect is not None for effect in effects)
    assert effects == sorted(effects)  # type: ignore[type-var]


def found_by_the_rule(
    documents: int, effect: float, *, sizes: list[int] | None = None, level: float = 0.95, repetitions: int = 600
) -> float:
    """How often p and interval together find a true difference of so many standard deviations of a document's difference.

    Documents of the given sizes have items that correlate 0.3.
    """
    random = np.random.default_rng([11, documents])
    of = np.array(sizes or [1] * documents)
    scales = np.sqrt(0.3 + 0.7 / of)
    noise = random.normal(size=(repetitions, documents)) * scales / math.sqrt(float((scales**2).mean()))
    names, zeros = [str(n) for n in range(documents)], [0.0] * documents
    count = 0
    for row in noise + effect:
        found = paired(zeros, row.tolist(), names, draws=1000, level=level)
        count += found.ci is not None and found.ci.low > 0 and found.p is not None and found.p <= 1 - level
    return count / repetitions


NOISE = 3 * math.sqrt(0.8 * 0.2 / 600)  # of the simulation, beside the three points that are promised


@pytest.mark.slow
@pytest.mark.parametrize(
    ("documents", "level"),
    [(6, 0.95), (14, 0.95), (14, 0.983), *(pytest.param(n, 0.95, marks=pytest.mark.nightly) for n in (8, 40))],
)
def test_the_detectable_effect_is_found_four_times_in_five_by_the_rule_of_the_gate(documents: int, level: float) -> None:
    effect = detectable_effect(documents, level=level)
    assert effect is not None
    assert found_by_the_rule(documents, effect, level=level) == pytest.approx(0.8, abs=NOISE)


@pytest.mark.slow
def test_documents_of_unequal_sizes_get_an_effect_that_is_true_for_them() -> None:
    sizes = np.maximum(1, np.rint(np.exp(np.random.default_rng(3).normal(1.1, 1, 20)))).astype(int).tolist()
    effect = detectable_effect(20, sizes=sizes)
    assert effect is not None
    assert found_by_the_rule(20, effect, sizes=sizes) == pytest.approx(0.8, abs=0.03 + NOISE)


def test_the_effect_that_a_t_test_promises_for_six_documents_is_found_less_often() -> None:
    assert found_by_the_rule(6, 1.435, repetitions=300) < 0.8 - NOISE
