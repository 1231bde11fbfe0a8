"""How precisely κ is known with so many labels, and what more labels would bring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.eval.judge.kappa import Kappa, cells_of, kappa, kappa_of_cells
from tunesmith.eval.judge.rows import JudgedPair, clusters_of_pairs

__all__ = ["LearningCurve", "learning_curve"]

_STEPS = (10, 20, 50, 100, 200, 500, 1000)
_DRAWS, _MORE = 2_000, 20
_NARROWEST = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """`points`: number of labels, and the range of κ that 95 % of draws of so many labels would give. `sentence`: what `more`
    labels would narrow the interval to, if κ stays what it is."""

    points: tuple[tuple[int, float, float], ...]
    more: int
    expected: tuple[float, float] | None
    sentence: str

    def as_dict(self) -> dict[str, object]:
        """As the command prints it."""
        return {
            "points": [{"labels": labels, "ci": [low, high]} for labels, low, high in self.points],
            "more": self.more,
            "expected_ci": None if self.expected is None else list(self.expected),
            "sentence": self.sentence,
        }


def learning_curve(judged: Sequence[JudgedPair], *, more: int = _MORE) -> LearningCurve:
    """The curve up to the pairs there are, and an outlook: an interval narrows with the square root of the number of labels."""
    groups = clusters_of_pairs(judged)
    people, verdicts = [str(pair.human) for pair in judged], [str(pair.judge) for pair in judged]
    found = kappa(people, verdicts, groups, draws=_DRAWS)
    if found.ci is None or found.value is None:
        return LearningCurve(
            points=(), more=more, expected=None, sentence=f"what more labels would bring is not measured: {found.why_not}"
        )
    cells_GKK, labels = cells_of(people, verdicts, groups)
    flat, n = cells_GKK.reshape(len(cells_GKK), -1), len(judged)
    random = np.random.default_rng(7)
    points = []
    for step in [one for one in _STEPS if one < n] + [n]:
        clusters = max(2, round(step * len(flat) / n))
        drawn = flat[random.integers(0, len(flat), (_DRAWS, clusters))].sum(1)
        values = kappa_of_cells(drawn.reshape(-1, len(labels), len(labels)))
        low, high = np.quantile(values[np.isfinite(values)], [0.025, 0.975])
        points.append((step, float(low), float(high)))
    expected = _expected(found.value, found.ci, n, more)
    return LearningCurve(points=tuple(points), more=more, expected=expected, sentence=_sentence(found, n, more, expected))


def _expected(value: float, ci: tuple[float, float], n: int, more: int) -> tuple[float, float]:
    narrower = math.sqrt(n / (n + more))
    return value - narrower * (value - ci[0]), value + narrower * (ci[1] - value)


def _sentence(found: Kappa, n: int, more: int, expected: tuple[float, float]) -> str:
    low, high = found.ci or (0.0, 0.0)
    text = f"{n} labels give κ between {low:.2f} and {high:.2f}"
    if (high - low) - (expected[1] - expected[0]) < _NARROWEST:
        return f"{text}; {more} more labels would hardly narrow it"
    return f"{text}; {more} more labels would narrow it to {expected[0]:.2f} to {expected[1]:.2f}"
