"""AdamW with moments of 8 bits, quantised in blocks (Dettmers et al. 2022, arXiv:2110.02861), by bitsandbytes.

Tensors of fewer than 4,096 numbers keep moments of 32 bits. It runs on CPUs too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from tunesmith.core.settings import Section
from tunesmith.train.optimizer import Beta, Group, Optimizer, Rates, missing_library

__all__ = ["Settings", "blockwise", "make"]


class Settings(Section):
    """The knobs of AdamW."""

    beta1: Beta = 0.9
    """Share of the old mean of gradients that a step keeps."""
    beta2: Beta = 0.999
    """Share of the old mean of squared gradients that a step keeps."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of the mean of squared gradients."""


def make(groups: Sequence[Group], settings: Settings, *, model: Any, rates: Rates) -> Optimizer:
    """Two moments of 8 bits for each number, and a scale for every 256 of them."""
    return blockwise("adamw_8bit", "AdamW8bit", groups, settings, rates)


def blockwise(kind: str, name: str, groups: Sequence[Group], settings: Settings, rates: Rates) -> Optimizer:
    """The optimiser `name` of bitsandbytes. TrainingError if the library is missing."""
    try:
        import bitsandbytes
    except ImportError as error:
        raise missing_library(kind, "bitsandbytes", error) from error
    made = getattr(bitsandbytes.optim, name)(
        groups,
        lr=rates.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=rates.weight_decay,
    )
    return Optimizer((made,), begin=_begin, derived=frozenset({"qmap1", "qmap2"}))


def _begin(part: Any) -> None:
    """Empty states of all tensors, as the first step would make them."""
    for i, group in enumerate(part.param_groups):
        for j, parameter in enumerate(group["params"]):
            part.init_state(group, parameter, i, j)
