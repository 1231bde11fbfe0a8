"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290, equation 7).

It raises the chosen answer over the rejected one, measured against the base.

    loss = −log σ(β · ((log π(chosen) − log π_base(chosen)) − (log π(rejected) − log π_base(rejected))))

log π(answer) is summed over the answer's tokens, its end token included. β · (log π − log π_base) is an answer's reward, and
the difference of the two rewards is the margin. Shapes: N target tokens of a batch, R rows, U units, each of two rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field

from tunesmith.core.records import Preference
from tunesmith.core.settings import Section
from tunesmith.models.chat import Chat
from tunesmith.models.labels import encode_row
from tunesmith.train.method import Direction, Forward
from tunesmith.train.units import Batch, Unit

__all__ = ["Method", "Settings"]


class Settings(Section):
    """Settings of direct preference optimisation."""

    beta: Annotated[float, Field(gt=0, le=100)] = 0.1
    """How strongly the tuned model is kept close to the base; higher is closer. 0.1 to 0.5 is usual."""


class Method:
    """A unit is a pair, chosen row first, and counts once, so a step is a mean over pairs. Its rows share their prompt."""

    record = Preference
    figures: Mapping[str, Direction] = {
        "loss": "lower",
        "preference_accuracy": "higher",
        "margin": "higher",
        "chosen_reward": "higher",
    }
    loss_unit = "nats per pair"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def prepare(self, examples: Sequence[Preference], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """A unit for each preference."""
        return [Unit(encode_row(chat, row, max_tokens=max_tokens), weight=1) for row in examples]

    def reference(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> list[tuple[float, ...]]:
        """log π_base of both answers of each pair; the adapter is off while this runs."""
        found: dict[Unit, tuple[float, ...]] = {}
        for batch, log_p_N, _ in forward.scored(units, on_done):
            pairs_U2 = batch.sum_by_row(log_p_N).view(-1, 2)
            found.update((unit, tuple(pair)) for unit, pair in zip(batch.units, pairs_U2.tolist(), strict=True))
        return [found[unit] for unit in units]

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum of the pairs' losses (float64 scalar, nats)."""
        rewards_U2 = self._rewards(batch, forward.log_probs(batch))
        return -F.logsigmoid(rewards_U2[:, 0] - rewards_U2[:, 1]).sum()

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """Means over pairs: `loss`, the share whose chosen answer has the higher reward (`preference_accuracy`; a tie counts
        half), `margin` and `chosen_reward`.

        A chosen reward that falls while the margin grows means that both answers become less likely, the rejected one faster.
        """
        parts = [self._rewards(batch, log_p_N).cpu() for batch, log_p_N, _ in forward.scored(units, on_done)]
        rewards_U2 = torch.cat(parts)
        margin_U = rewards_U2[:, 0] - rewards_U2[:, 1]
        return {
            "loss": float(-F.logsigmoid(margin_U).mean()),
            "preference_accuracy": float(((margin_U > 0).double() + (margin_U >= 0).double()).mean() / 2),
            "margin": float(margin_U.mean()),
            "chosen_reward": float(rewards_U2[:, 0].mean()),
        }

    def _rewards(self, batch: Batch, log_p_N: torch.Tensor) -> torch.Tensor:
        """β · (log π − log π_base) of both answers of each pair: rewards_U2, float64."""
        log_p_R = batch.sum_by_row(log_p_N)
        base_R = log_p_R.new_tensor([value for unit in batch.units for value in unit.reference])
        return self.settings.beta * (log_p_R - base_R).view(-1, 2)
