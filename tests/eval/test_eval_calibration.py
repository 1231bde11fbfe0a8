"""Calibration by simulation: nominal 95 % intervals cover what they say, and a true null is rejected as often as said.

Each check has its planted fault: the same simulation with documents ignored, or without the small-sample widening, fails.
Simulated coverage has noise of its own; the checks allow three standard errors of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from tunesmith.eval.stats import paired, summarise

REPETITIONS = 700
# (documents, items in each, share of variance between documents, sizes unequal)
DESIGNS = [(20, 1, 0.0, False), (10, 4, 0.3, True), (40, 5, 0.3, False), (1000, 1, 0.0, False)]
DAILY = (8, 5, 0.3, False)


def simulated(
    rng: np.random.Generator, documents: int, items: int, between: float, *, unequal: bool
) -> tuple[list[float], list[str]]:
    """Values of true mean 0: a level for each document and noise for each item."""
    sizes = np.maximum(1, np.round(items * rng.lognormal(-0.1, 0.5, documents))).astype(int) if unequal else [items] * documents
    level = np.repeat(rng.normal(size=documents) * math.sqrt(between), sizes)
    values = level + rng.normal(size=level.size) * math.sqrt(1 - between)
    return values.tolist(), [str(g) for g in np.repeat(np.arange(documents), sizes)]


def coverage(design: tuple[int, int, float, bool], *, seed: int = 5, ignore_documents: bool = False) -> float:
    documents, items, between, unequal = design
    rng = np.random.default_rng([seed, documents])
    hits = 0
    for number in range(REPETITIONS):
        values, groups = simulated(rng, documents, items, between, unequal=unequal)
        names: Sequence[str] = [str(i) for i in range(len(values))] if ignore_documents else groups
        ci = summarise(values, names, draws=1000, seed=number // 50).ci
        assert ci is not None
        hits += ci.low <= 0 <= ci.high
    return hits / REPETITIONS


def covers(share: float) -> bool:
    """The promise, 94 to 96.5 %, with three standard errors of the simulation on either side."""
    error = math.sqrt(0.95 * 0.05 / REPETITIONS)
    return 0.94 - 3 * error <= share <= 0.965 + 3 * error


@pytest.mark.slow
@pytest.mark.parametrize("design", [DAILY, *(pytest.param(design, marks=pytest.mark.nightly) for design in DESIGNS)])
def test_a_95_percent_interval_covers_the_truth_as_often_as_it_says(design: tuple[int, int, float, bool]) -> None:
    assert covers(coverage(design))


@pytest.mark.slow
def test_ignoring_the_documents_fails_the_coverage_check() -> None:
    assert not covers(coverage(DAILY, ignore_documents=True))


@pytest.mark.nightly
def test_bca_without_the_small_sample_widening_fails_the_coverage_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.eval.stats._stretch", lambda sums, sizes: 1.0)
    assert not covers(coverage(DAILY))


def rejections(documents: int, *, ignore_documents: bool = False) -> float:
    rng = np.random.default_rng([9, documents])
    count = 0
    for number in range(REPETITIONS):
        b, groups = simulated(rng, documents, 4, 0.4, unequal=True)
        names: Sequence[str] = [str(i) for i in range(len(b))] if ignore_documents else groups
        p = paired([0.0] * len(b), b, names, draws=1000, seed=number // 50).p
        assert p is not None
        count += p <= 0.05
    return count / REPETITIONS


def rejects_rarely(share: float) -> bool:
    return share <= 0.055 + 3 * math.sqrt(0.05 * 0.95 / REPETITIONS)


@pytest.mark.slow
@pytest.mark.parametrize("documents", [12, *(pytest.param(number, marks=pytest.mark.nightly) for number in (6, 40))])
def test_the_sign_flip_test_rejects_a_true_null_no_more_often_than_it_says(documents: int) -> None:
    assert rejects_rarely(rejections(documents))


@pytest.mark.slow
def test_ignoring_the_documents_fails_the_rejection_check() -> None:
    assert not rejects_rarely(rejections(12, ignore_documents=True))
