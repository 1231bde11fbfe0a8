"""Schedule-free AdamW (Defazio et al. 2024, arXiv:2405.15682), by its authors' library `schedulefree`.

Gradients are taken between the newest weights and their average; the average is the result. The loop puts it in place for
validations, samples and the best weights. It replaces a falling rate, so the schedule is best `constant`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from tunesmith.core.settings import Section
from tunesmith.train.optimizer import Beta, Group, Optimizer, Rates, missing_library

__all__ = ["Settings", "make"]


class Settings(Section):
    """The knobs of schedule-free AdamW."""

    beta1: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Where gradients are taken: 1 at the average of the weights, 0 at the newest ones."""
    beta2: Beta = 0.999
    """Share of the old mean of squared gradients that a step keeps."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of the mean of squared gradients."""
    power: Annotated[float, Field(ge=0)] = 2.0
    """A step counts in the average by this power of the largest rate so far: steps of the warm-up count less."""


def make(groups: Sequence[Group], settings: Settings, *, model: Any, rates: Rates) -> Optimizer:
    """Two states for each number. TrainingError if the library is missing."""
    try:
        from schedulefree import AdamWScheduleFree
    except ImportError as error:
        raise missing_library("schedule_free", "schedulefree", error) from error
    made = AdamWScheduleFree(
        groups,
        lr=rates.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=rates.weight_decay,
        weight_lr_power=settings.power,
    )
    made.train()
    return Optimizer((made,))
