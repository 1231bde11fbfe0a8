"""Lion: the sign of a mean of gradients, one state for each number (Chen et al. 2023, arXiv:2302.06675), by lion-pytorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunesmith.core.settings import Section
from tunesmith.train.optimizer import Beta, Group, Optimizer, Rates, missing_library

__all__ = ["Settings", "make"]


class Settings(Section):
    """The knobs of Lion."""

    beta1: Beta = 0.9
    """Share of the old mean in the direction of a step."""
    beta2: Beta = 0.99
    """Share of the old mean of gradients that a step keeps."""


def make(groups: Sequence[Group], settings: Settings, *, model: Any, rates: Rates) -> Optimizer:
    """One moment for each number. TrainingError if the library is missing."""
    try:
        from lion_pytorch import Lion
    except ImportError as error:
        raise missing_library("lion", "lion-pytorch", error) from error
    betas = (settings.beta1, settings.beta2)
    return Optimizer((Lion(groups, lr=rates.learning_rate, betas=betas, weight_decay=rates.weight_decay),))
