"""Supervised fine-tuning: cross-entropy on the target tokens alone.

Shapes: N target tokens of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from tunesmith.core.records import Example
from tunesmith.core.settings import Section
from tunesmith.models.chat import Chat
from tunesmith.train.method import Direction, Forward
from tunesmith.train.units import Batch, Unit

__all__ = ["Method", "Settings"]


class Settings(Section):
    """Supervised fine-tuning has no settings of its own."""


class Method:
    """A unit is one encoded row; its weight is the number of its target tokens, so a step is a mean over tokens."""

    record = Example
    figures: Mapping[str, Direction] = {"loss": "lower", "accuracy": "higher"}
    loss_unit = "nats per token"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def prepare(self, examples: Sequence[Example], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """The rows of every example, each a unit: a template may need several rows for one conversation."""
        rows = (row for example in examples for row in chat.rows(example.messages, max_tokens=max_tokens))
        return [Unit((row,), weight=sum(row.learned[1:])) for row in rows]  # nothing predicts the first token

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Σ −log p (nats, float32 scalar) over the target tokens of a batch."""
        return forward.nll(batch)

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """`loss`: mean −log p in nats per token; `accuracy`: share of target tokens that are the likeliest ones."""
        total, right, count = 0.0, 0, 0
        for _, log_p_N, right_N in forward.scored(units, on_done):
            total -= float(log_p_N.double().sum())
            right += int(right_N.sum())
            count += len(log_p_N)
        return {"loss": total / max(1, count), "accuracy": right / max(1, count)}
