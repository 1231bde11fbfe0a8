"""Odds-ratio preference optimisation (Hong et al. 2024, arXiv:2403.07691, equation 6): tuning and preference in one, without a
reference.

    loss = −mean log π(chosen) − λ log σ(log odds(chosen) − log odds(rejected)),   odds = p / (1 − p),   log p = mean log π

The mean is over the answer's tokens, its end token included; the prompt is not learned. Shapes: N target tokens of a batch,
U units, each of two rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field

from tunesmith.core.records import Preference
from tunesmith.core.settings import Section
from tunesmith.models.chat import Chat
from tunesmith.train.formulas import log_odds, odds_ratio
from tunesmith.train.method import Direction, Forward
from tunesmith.train.pairs import log_probs_by_pair, pair_units, share_above
from tunesmith.train.units import Batch, Unit

__all__ = ["Method", "Settings"]


class Settings(Section):
    """Settings of odds-ratio preference optimisation."""

    weight: Annotated[float, Field(ge=0, le=100)] = 0.1
    """Weight of the odds ratio, which is added to the loss of the chosen answer: λ in the paper, `beta` in TRL."""


class Method:
    """A unit is a pair, chosen row first, and counts once, so a step is a mean over pairs."""

    record = Preference
    figures: Mapping[str, Direction] = {
        "loss": "lower",
        "preference_accuracy": "higher",
        "log_odds_ratio": "higher",
        "chosen_log_prob": "higher",
    }
    loss_unit = "nats per pair"

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
        half), `log_odds_ratio` and `chosen_log_prob` (nats per token).
        """
        parts = [
            log_probs_by_pair(batch, log_p_N, per_token=True).cpu() for batch, log_p_N, _ in forward.scored(units, on_done)
        ]
        mean_U2 = torch.cat(parts)
        odds_U2 = log_odds(mean_U2)
        return {
            "loss": float(self._losses(mean_U2).mean()),
            "preference_accuracy": share_above(mean_U2[:, 0] - mean_U2[:, 1]),
            "log_odds_ratio": float((odds_U2[:, 0] - odds_U2[:, 1]).mean()),
            "chosen_log_prob": float(mean_U2[:, 0].mean()),
        }

    def _losses(self, mean_U2: torch.Tensor) -> torch.Tensor:
        return -mean_U2[:, 0] + self.settings.weight * odds_ratio(mean_U2[:, 0], mean_U2[:, 1])
