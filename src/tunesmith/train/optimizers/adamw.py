"""AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), torch's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch.distributed.tensor import DTensor

from tunesmith.core.settings import Section
from tunesmith.train.optimizer import Beta, Group, Optimizer, Rates

__all__ = ["Settings", "make"]

_FUSED_ABOVE = 50_000_000  # numbers: whole models, not their adapters


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
    betas, decay = (settings.beta1, settings.beta2), rates.weight_decay
    fused = True if _fuses(groups) else None
    return Optimizer(
        (torch.optim.AdamW(groups, lr=rates.learning_rate, betas=betas, eps=settings.epsilon, weight_decay=decay, fused=fused),)
    )


def _fuses(groups: Sequence[Group]) -> bool:
    """Whether so much is trained that a step in one pass over memory counts: a seventh of the time, other last digits."""
    tensors = [tensor for group in groups for tensor in group["params"]]
    return not any(isinstance(t, DTensor) for t in tensors) and sum(t.numel() for t in tensors) > _FUSED_ABOVE
