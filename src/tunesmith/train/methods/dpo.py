"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) and its relatives with a reference.

It raises the chosen answer over the rejected one, measured against the base. With β · (log π − log π_base) as an answer's
reward, and the difference m of the two rewards as the margin, the loss of a pair is by `loss`:

    sigmoid   −log σ(m) (equation 7); with label smoothing ε it is conservative DPO
    robust    the same without bias where a share ε of the pairs is swapped (arXiv:2403.00409)
    ipo       (m / β − 1 / (2β))² (arXiv:2310.12036)

log π(answer) is summed over the answer's tokens, its end token included, or with `per_token` the mean over them.
Shapes: N target tokens of a batch, R rows, U units, each of two rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator

from tunesmith.core.records import Preference
from tunesmith.core.settings import Section
from tunesmith.models.chat import Chat
from tunesmith.train.formulas import conservative, identity_preference, robust
from tunesmith.train.method import Direction, Forward
from tunesmith.train.pairs import PREFERENCE_RATE, log_probs_by_pair, pair_units, references_by_row, share_above
from tunesmith.train.units import Batch, Unit

__all__ = ["Method", "Settings"]


class Settings(Section):
    """Settings of direct preference optimisation."""

    beta: Annotated[float, Field(gt=0, le=100)] = 0.1
    """How strongly the tuned model is kept close to the base; higher is closer. 0.1 to 0.5 is usual."""
    loss: Literal["sigmoid", "ipo", "robust"] = "sigmoid"
    """The loss of a pair. `sigmoid`: DPO. `ipo`: IPO, which aims at a margin instead of an ever larger one. `robust`: DPO for
    preferences of which a known share is swapped."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """The share of pairs that are taken to be swapped. With `sigmoid` this is conservative DPO; `robust` needs it."""
    per_token: Literal["auto"] | bool = "auto"
    """Divide the log-probability of each answer by its number of tokens. `auto`: with `ipo`, as its authors do. With `sigmoid`
    it is the length-normalised DPO of Tulu 3."""

    @model_validator(mode="after")
    def _has_effect(self) -> Settings:
        if self.loss == "robust" and not self.label_smoothing:
            raise ValueError("objective.label_smoothing above 0 with objective.loss robust: the share of swapped pairs")
        if self.loss == "ipo" and self.label_smoothing:
            raise ValueError("no objective.label_smoothing with objective.loss ipo, where it has no effect")
        return self


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
    rate = PREFERENCE_RATE

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.per_token = settings.loss == "ipo" if settings.per_token == "auto" else settings.per_token

    def prepare(self, examples: Sequence[Preference], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """A unit for each preference."""
        return pair_units(examples, chat, max_tokens=max_tokens)

    def reference(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> list[tuple[float, ...]]:
        """log π_base of both answers of each pair, summed over their tokens; the adapter is off while this runs."""
        return references_by_row(forward, units, on_done)

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum of the pairs' losses (float64 scalar)."""
        return self._losses(self._rewards(batch, forward.log_probs(batch))).sum()

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """Means over pairs: `loss`, the share whose chosen answer has the higher reward (`preference_accuracy`; a tie counts
        half), `margin` and `chosen_reward`.

        A chosen reward that falls while the margin grows means that both answers become less likely, the rejected one faster.
        """
        parts = [self._rewards(batch, log_p_N).cpu() for batch, log_p_N, _ in forward.scored(units, on_done)]
        rewards_U2 = torch.cat(parts)
        margin_U = rewards_U2[:, 0] - rewards_U2[:, 1]
        return {
            "loss": float(self._losses(rewards_U2).mean()),
            "preference_accuracy": share_above(margin_U),
            "margin": float(margin_U.mean()),
            "chosen_reward": float(rewards_U2[:, 0].mean()),
        }

    def _losses(self, rewards_U2: torch.Tensor) -> torch.Tensor:
        s, margin_U = self.settings, rewards_U2[:, 0] - rewards_U2[:, 1]
        if s.loss == "ipo":
            return identity_preference(margin_U / s.beta, s.beta)
        if s.loss == "robust":
            return robust(margin_U, s.label_smoothing)
        return conservative(margin_U, s.label_smoothing)

    def _rewards(self, batch: Batch, log_p_N: torch.Tensor) -> torch.Tensor:
        """β · (log π − log π_base) of both answers of each pair: rewards_U2, float64."""
        log_p_U2 = log_probs_by_pair(batch, log_p_N)
        base_U2 = log_p_U2.new_tensor([unit.reference for unit in batch.units])
        ratio_U2 = log_p_U2 - base_U2
        if self.per_token:
            ratio_U2 = ratio_U2 / batch.targets_by_row().view(-1, 2)
        return self.settings.beta * ratio_U2
