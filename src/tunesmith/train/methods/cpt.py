"""Continued pre-training: cross-entropy on every token of plain texts, as the base was trained before it was taught to answer.

Documents are cut into rows that fill the context, with nothing dropped, and rows are laid out one after the other without
padding, each attending to itself alone. Shapes: N target tokens of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch

from tunesmith.core.settings import Section
from tunesmith.core.texts import Text
from tunesmith.models.chat import Chat
from tunesmith.models.labels import encode_row
from tunesmith.train.method import Direction, Forward
from tunesmith.train.units import Batch, Unit

__all__ = ["Method", "Settings"]


class Settings(Section):
    """Continued pre-training has no settings of its own."""


class Method:
    """A unit is one row of text, of one document; its weight is the number of its target tokens."""

    record = Text
    figures: Mapping[str, Direction] = {"loss": "lower", "accuracy": "higher", "perplexity": "lower"}
    loss_unit = "nats per token"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def prepare(self, examples: Sequence[Text], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """A unit for each row; a text of a single token, which nothing predicts, has none."""
        rows = [row for text in examples for row in encode_row(chat, text, max_tokens=max_tokens)]
        return [Unit((row,), weight=weight) for row in rows if (weight := sum(row.learned[1:]))]

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """Σ −log p (nats, float32 scalar) over the target tokens of a batch."""
        return forward.nll(batch)

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """`loss`: mean −log p in nats per token; `accuracy`: share of tokens that are the likeliest ones; `perplexity`: exp of
        the loss.
        """
        total, right, count = 0.0, 0, 0
        for _, log_p_N, right_N in forward.scored(units, on_done):
            total -= float(log_p_N.double().sum())
            right += int(right_N.sum())
            count += len(log_p_N)
        loss = total / max(1, count)
        return {"loss": loss, "accuracy": right / max(1, count), "perplexity": math.exp(min(loss, 700.0))}
