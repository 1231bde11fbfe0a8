"""Supervised fine-tuning: cross-entropy on the target tokens alone.

With weight w of a target token, ε label smoothing, ζ z-loss and logits z over V tokens, the loss of the token is

    w · ((1 − ε) · −log p + ε · mean over V of −log p + ζ · logsumexp(z)²)

and a step is the sum over its target tokens, divided by the sum of their weights.
Shapes: N target tokens of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field

from tunesmith.core.records import Example
from tunesmith.core.settings import Section
from tunesmith.models.chat import Chat
from tunesmith.models.packed.head import Penalty
from tunesmith.train.loss_weights import LossWeights, weights_of
from tunesmith.train.method import Direction, Forward
from tunesmith.train.units import Batch, Unit

__all__ = ["Method", "Settings"]


class Settings(Section):
    """Settings of supervised fine-tuning."""

    last_turn_only: bool = False
    """Learn the last answer of each conversation alone. Off: every answer is learned, each after what precedes it."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each target that is spread evenly over the whole vocabulary. 0.1 is usual. Validation does not smooth."""
    z_loss: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight of the squared logarithm of the softmax's normaliser, which keeps the logits from drifting. 1e-4 is usual."""
    neftune_alpha: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """NEFTune: uniform noise on the input embeddings in training, of ± this number over the root of row length times width.
    The authors use 5 to 15. 0: none."""
    weight_column: str = ""
    """Column of the rows that holds the weight of each row in the loss, such as `weight`. Rows without it count 1. Empty: no
    such column. The weight of a turn (`weight` of a message) always counts."""
    source_weights: dict[str, Annotated[float, Field(ge=0, le=1000)]] = {}  # noqa: RUF012 (pydantic copies it)
    """Weight of the rows of a source in the loss, by name or pattern such as `notes-*`; the first that fits counts. How often
    rows are shown is `mix.weights`."""


class Method:
    """A unit is one encoded row; its weight is that of its target tokens, 1 each as a rule, so a step is a mean over tokens."""

    record = Example
    figures: Mapping[str, Direction] = {"loss": "lower", "accuracy": "higher"}
    loss_unit = "nats per token"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.alters_inputs = settings.neftune_alpha > 0
        self._penalty = Penalty(settings.label_smoothing, settings.z_loss)
        self._weights = LossWeights(
            sources=settings.source_weights, column=settings.weight_column, last_turn_only=settings.last_turn_only
        )

    def check(self, examples: Mapping[str, Sequence[Example]]) -> None:
        """TrainingError for weights that nothing has, that are none, or that leave nothing to learn."""
        self._weights.check(examples)

    def prepare(self, examples: Sequence[Example], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """The rows of every example, each a unit: a template may need several rows for one conversation."""
        return [unit for example in examples for unit in self._weights.units(example, chat, max_tokens=max_tokens)]

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum of the losses of the target tokens of a batch (nats, float32 scalar)."""
        with forward.noise(batch, self.settings.neftune_alpha):
            return forward.nll(batch, weights_of(batch), self._penalty)

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """`loss`: mean −log p in nats per token; `accuracy`: share of target tokens that are the likeliest ones. Tokens count
        by their weights; smoothing, z-loss and noise are left out."""
        total, right, count = 0.0, 0.0, 0.0
        for batch, log_p_N, right_N in forward.scored(units, on_done):
            weight_N = weights_of(batch)
            if weight_N is None:
                total -= float(log_p_N.double().sum())
                right += int(right_N.sum())
                count += len(log_p_N)
            else:
                total -= float((log_p_N.double() * weight_N).sum())
                right += float((right_N * weight_N).sum())
                count += float(weight_N.double().sum())
        return {"loss": total / (count or 1), "accuracy": right / (count or 1)}
