"""AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), torch's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field

from tunesmith.core.settings import Section
from tunesmith.train.optimizer import Beta, Group, Optimizer, Rates

__all__ = ["Settings", "make"]


class Settings(Section):
    """The knobs of AdamW."""

    beta1: Beta = 0.9
    """Share of the old mean of gradients that a step keeps."""
    beta2: Beta = 0.999
    """Share of the old mean of squared gradients that a step keeps."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of the mean of squared gradients."""


def make(groups: Sequence[Group], settings: Settings, *, model: Any, rates: Rates) -> Optimizer:
    """Two moments for each number, in the type of the tensor."""
    betas = (settings.beta1, settings.beta2)
    decay = rates.weight_decay
    return Optimizer(
        (torch.optim.AdamW(groups, lr=rates.learning_rate, betas=betas, eps=settings.epsilon, weight_decay=decay),)
    )
