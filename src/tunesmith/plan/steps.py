"""Steps of a run and between two validations, from what is asked for and the number of examples."""

from __future__ import annotations

from typing import Literal, Protocol

__all__ = ["LONG_S", "Amount", "num_steps", "validation_every"]

LONG_S = 20 * 60  # of training, from which a minute for compiling can pay

_VALIDATIONS = 12  # over a whole run, where the recipe leaves it open
_LEAST = 10  # steps between two validations


class Amount(Protocol):
    """How much training is asked for; a batch is counted in `batch_tokens`, or where these are 0 in `batch_examples`."""

    max_steps: int
    epochs: float
    batch_examples: int
    batch_tokens: int
    accumulate: int


def num_steps(train: Amount, num_examples: int, num_tokens: int) -> int:
    """Optimiser steps that are asked for: `max_steps`, or what `epochs` gives over so many rows and tokens."""
    if train.max_steps:
        return train.max_steps
    by_tokens = min(num_examples, -(-num_tokens // train.batch_tokens)) if train.batch_tokens else 0
    return max(1, round(train.epochs * (by_tokens or -(-num_examples // train.batch_examples)) / train.accumulate))


def validation_every(wanted: Literal["auto"] | int, steps: int) -> int:
    """Steps between two validations of a run of so many `steps`; 0 means only at the end."""
    return max(_LEAST, steps // _VALIDATIONS) if wanted == "auto" else wanted
