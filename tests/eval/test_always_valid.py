"""The interval for a difference holds whenever one looks; a test of fixed size, looked at every hour, does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tunesmith.eval.always_valid import difference_of, log_capital
from tunesmith.eval.arena.stopping import confidence_sequence, log_evidence

LIMIT = math.log(1 / 0.05)


def looks(draws: np.ndarray, every: int) -> tuple[np.ndarray, np.ndarray]:
    """ln K(0) of each experiment at each look, and |t| of its mean."""
    values = np.unique(draws)
    counts = np.stack([(draws == value).cumsum(axis=1)[:, every - 1 :: every] for value in values], axis=-1).astype(float)
    n = np.arange(every, draws.shape[1] + 1, every)
    mean = (counts @ values) / n
    spread = np.sqrt(np.maximum((counts @ values**2) / n - mean**2, 1e-12) / n)
    return log_capital(values, counts), np.abs(mean / spread)


@pytest.mark.parametrize("values", [(0.0, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0)], ids=["thumbs", "scores"])
def test_looking_every_hour_decides_falsely_at_most_once_in_twenty(values: tuple[float, ...]) -> None:
    rng = np.random.default_rng(3)
    arms = rng.choice(values, size=(2, 1000, 480))
    evidence, t = looks(arms[0] - arms[1], 10)
    assert (evidence.max(axis=1) >= LIMIT).mean() <= 0.05
    assert (t.max(axis=1) > 1.96).mean() > 0.2  # planted: the fixed test, looked at 48 times
    better = rng.random((2, 200, 480)) < np.array([0.65, 0.45])[:, None, None]
    evidence, _ = looks(better[0].astype(float) - better[1], 10)
    assert (evidence.max(axis=1) >= LIMIT).mean() > 0.9


def test_the_interval_excludes_what_the_capital_excludes_and_covers_the_truth() -> None:
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(40):
        draws = (rng.beta(2, 3, 150) - rng.beta(3, 2, 150)).round(2)
        found = difference_of(list(draws))
        assert found.ci is not None and found.mean is not None and found.ci[0] <= found.mean <= found.ci[1]
        missed += not found.ci[0] <= -0.2 <= found.ci[1]
        values, counts = np.unique(draws, return_counts=True)
        for end in found.ci:
            assert float(log_capital(values, counts.astype(float), end)) == pytest.approx(LIMIT, abs=1e-2)
        assert found.decided == (found.evidence >= 20)
    assert missed <= 4


def test_for_thumbs_it_is_the_arenas_rule() -> None:
    for wins, losses, ties in ((3, 1, 5), (12, 2, 0), (40, 25, 100)):
        counts = np.array([losses, ties, wins], dtype=float)
        assert float(log_capital(np.array([-1.0, 0.0, 1.0]), counts)) == pytest.approx(log_evidence(wins, losses), abs=1e-6)


def test_the_sequence_of_the_arena_holds_for_scores_between() -> None:
    rng = np.random.default_rng(8)
    outside = 0
    for _ in range(200):
        total = rng.choice([0.0, 0.5, 1.0], size=100, p=[0.2, 0.5, 0.3]).cumsum()
        intervals = [confidence_sequence(total[n - 1], n - total[n - 1]) for n in (5, 20, 60, 100)]
        outside += any(not low <= 0.55 <= high for low, high in intervals)
    assert outside <= 10


def test_few_extreme_or_impossible_values() -> None:
    assert difference_of([]).ci is None and not difference_of([]).decided
    one = difference_of([1.0])
    assert one.ci is not None and one.ci[1] == 1 and not one.decided
    assert difference_of([1.0] * 12).decided and difference_of([-1.0] * 12).ci[1] < 0  # type: ignore[index]
    assert not difference_of([0.0] * 1000).decided
    with pytest.raises(ValueError, match="-1"):
        difference_of([1.5])
