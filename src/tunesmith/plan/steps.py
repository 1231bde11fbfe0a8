"""Steps of a run and between two validations, from the recipe and the number of examples."""

from __future__ import annotations

from tunesmith.core.config import TrainConfig

__all__ = ["LONG_S", "num_steps", "validation_every"]

LONG_S = 20 * 60  # of training, from which a minute for compiling can pay

_VALIDATIONS = 12  # over a whole run, where the recipe leaves it open
_LEAST = 10  # steps between two validations


def num_steps(train: TrainConfig, num_examples: int, num_tokens: int) -> int:
    """Optimiser steps that the recipe asks for: `max_steps`, or what `epochs` gives over so many rows and tokens."""
    if train.max_steps:
        return train.max_steps
    by_tokens = min(num_examples, -(-num_tokens // train.batch_tokens)) if train.batch_tokens else 0
    return max(1, round(train.epochs * (by_tokens or -(-num_examples // train.batch_examples)) / train.accumulate))


def validation_every(train: TrainConfig, steps: int) -> int:
    """Steps between two validations; 0 means only at the end."""
    return max(_LEAST, steps // _VALIDATIONS) if train.evaluate_every == "auto" else train.evaluate_every
