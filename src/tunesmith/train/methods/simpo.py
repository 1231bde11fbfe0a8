"""Simple preference optimisation (Meng et al. 2024, arXiv:2405.14734, equation 6): preferences without a reference.

    loss = −log σ(β · (mean log π(chosen) − mean log π(rejected)) − γ)

The mean is over the answer's tokens, its end token included, so a long answer has no advantage. Shapes: N target tokens of a
batch, U units, each of two rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field

from tunesmith.core.records import Preference
from tunesmith.core.settings import Section
from tunesmith.models.chat import Chat
from tunesmith.train.formulas import simple
from tunesmith.train.method import Direction, Forward
from tunesmith.train.pairs import PREFERENCE_RATE, log_probs_by_pair, pair_units, share_above
from tunesmith.train.units import Batch, Unit

__all__ = ["Method", "Settings"]


class Settings(Section):
    """Settings of simple preference optimisation."""

    beta: Annotated[float, Field(gt=0, le=100)] = 2.0
    """Scale of the difference of the mean log-probabilities. The paper uses 2.0 to 2.5, and up to 10 for instruct models."""
    gamma: Annotated[float, Field(ge=0, le=100)] = 1.0
    """The margin by which the chosen answer should win. Half of `beta` is a good start; the paper uses 0.3 to 1.6."""


class Method:
    """A unit is a pair, chosen row first, and counts once, so a step is a mean over pairs."""

    record = Preference
    figures: Mapping[str, Direction] = {
        "loss": "lower",
        "preference_accuracy": "higher",
        "margin": "higher",
        "chosen_log_prob": "higher",
    }
    loss_unit = "nats per pair"
    rate = PREFERENCE_RATE

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def prepare(self, examples: Sequence[Preference], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """A unit for each preference."""
        return pair_units(examples, chat, max_tokens=max_tokens)

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum of the pairs' losses (float64 scalar, nats)."""
        return self._losses(log_probs_by_pair(batch, forward.log_probs(batch), per_token=True)).sum()

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """Means over pairs: `loss`, the share whose chosen answer is likelier per token (`preference_accuracy`; a tie counts
        half), `margin` (β times the difference, γ not taken off) and `chosen_log_prob` (nats per token).
        """
        parts = [
            log_probs_by_pair(batch, log_p_N, per_token=True).cpu() for batch, log_p_N, _ in forward.scored(units, on_done)
        ]
        mean_U2 = torch.cat(parts)
        margin_U = self.settings.beta * (mean_U2[:, 0] - mean_U2[:, 1])
        return {
            "loss": float(self._losses(mean_U2).mean()),
            "preference_accuracy": share_above(margin_U),
            "margin": float(margin_U.mean()),
            "chosen_log_prob": float(mean_U2[:, 0].mean()),
        }

    def _losses(self, mean_U2: torch.Tensor) -> torch.Tensor:
        return simple(mean_U2[:, 0], mean_U2[:, 1], beta=self.settings.beta, gamma=self.settings.gamma)
