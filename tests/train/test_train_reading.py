"""The plain-words reading of the curves, on curves of each shape."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tunesmith.train.reading import read_curves


def rows(losses: list[float], looks: list[float]) -> list[dict[str, Any]]:
    every = max(1, len(losses) // max(1, len(looks) - 1))
    made: list[dict[str, Any]] = [{"step": n * every, "val_loss": look} for n, look in enumerate(looks)]
    return sorted(
        made + [{"step": n + 1, "loss": loss, "grad_norm": 1.0} for n, loss in enumerate(losses)], key=lambda r: r["step"]
    )


def falling(start: float, end: float, count: int) -> list[float]:
    return [end + (start - end) * (1 - n / (count - 1)) for n in range(count)]


NOISE = [0.2 * math.sin(12.9898 * n) for n in range(60)]
CURVES = {
    "learning": rows(falling(4, 2, 60), falling(4, 2.2, 7)),
    "saturated": rows(falling(4, 2, 60), [4, 3, 2.5, 2.3, 2.3, 2.299, 2.299]),
    "overfitting": rows(falling(4, 0.5, 60), [4, 3, 2.5, 2.4, 2.6, 2.9, 3.2]),
    "unstable": rows([3 + (6 if n in {20, 35, 50} else 0) for n in range(60)], falling(4, 3, 7)),
    "nothing learned": rows([4 + noise for noise in NOISE], [4, 4.001, 4.002, 4, 4.003, 4.001, 4.002]),
    "too short to tell": rows([4, 3, 2], [4, 3]),
}


@pytest.mark.parametrize("shape", sorted(CURVES))
def test_each_shape_is_recognised_and_comes_with_advice(shape: str) -> None:
    reading = read_curves(CURVES[shape], min_delta=0.001)
    assert reading.shape == shape and reading.text and reading.advice


def test_noise_of_the_data_alone_is_not_called_unstable() -> None:
    assert read_curves(rows([3 + 2 * noise for noise in NOISE], falling(4, 3, 7)), min_delta=0.001).shape == "learning"


def test_a_loss_that_is_no_number_counts_as_a_jump() -> None:
    losses = [3.0] * 60
    losses[20] = losses[40] = math.nan
    assert read_curves(rows(losses, falling(4, 3, 7)), min_delta=0.001).shape == "unstable"


def test_no_rows_and_rows_without_looks_are_too_short_to_tell() -> None:
    for curve in ([], rows([3.0] * 20, []), rows([3.0] * 20, [3.0])):
        assert read_curves(curve, min_delta=0.001).shape == "too short to tell"
