"""Intervals of shares: published values, clusters that widen them, and the coverage that is claimed."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.core.proportion import wilson
from tunesmith.eval.proportions import clustered_share


def test_wilson_gives_the_published_values() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I: 81/263 and 0/20
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def width(hits: list[bool], groups: list[str]) -> float:
    ci = clustered_share(hits, groups).ci
    assert ci is not None
    return ci.high - ci.low


def test_three_draws_that_always_agree_are_worth_one() -> None:
    hits = [n % 3 == 0 for n in range(30)]
    once = width(hits, [str(n) for n in range(30)])
    tripled = [hit for hit in hits for _ in range(3)]
    assert width(tripled, [str(n) for n in range(30) for _ in range(3)]) == pytest.approx(once, rel=0.02)
    alone = width(tripled, [str(n) for n in range(90)])  # the planted fault: draws taken as independent
    assert alone < 0.65 * once


def test_a_share_of_all_or_none_rests_on_the_documents_and_ends_at_the_border() -> None:
    share = clustered_share([True] * 60, [str(n // 6) for n in range(60)])
    assert share.ci is not None and share.ci.high == 1.0 and 0.6 < share.ci.low < 0.75
    assert "60 from 10 documents" in share.ci.method


def test_one_document_has_a_share_and_no_interval_and_no_answer_has_neither() -> None:
    assert clustered_share([True, False], ["a", "a"]).ci is None
    assert clustered_share([], []).share is None


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("correlation", [0.3, *(pytest.param(value, marks=pytest.mark.nightly) for value in (0.1, 0.8))])
def test_the_interval_covers_the_truth_at_least_nine_times_in_ten(share: float, correlation: float) -> None:
    rng = np.random.default_rng(5)
    scale = (1 - correlation) / correlation
    covered = 0
    for _ in range(300):
        levels = rng.beta(share * scale, (1 - share) * scale, 20)
        sizes = 3 * rng.integers(1, 6, 20)
        hits = [bool(hit) for level, size in zip(levels, sizes, strict=True) for hit in rng.random(size) < level]
        ci = clustered_share(hits, [str(g) for g, size in enumerate(sizes) for _ in range(size)]).ci
        covered += ci is not None and ci.low <= share <= ci.high
    assert covered >= 260
