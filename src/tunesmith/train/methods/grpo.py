"""Group relative policy optimisation (Shao et al. 2024, arXiv:2402.03300), with the later corrections as settings.

Of several answers to a prompt, those with a reward above the mean of the group become likelier. For a token with ratio
ρ = π / π_old and the advantage A of its answer:

    loss = −min(ρ A, clip(ρ, 1 − clip_low, 1 + clip_high) A) + β ρ (π_base / π − 1 − log(π_base / π))

The factor ρ of the divergence, 1 in value at the first update, makes its gradient that of KL(π ‖ base) (DeepSeek-V3.2,
arXiv:2512.02556); the first paper lacks it (`kl_gradient: plain`).

Numbers of a unit: `signal` is the advantage of each row and, with several updates, log π_old of each target token; `reference`
is log π_base of each target token with β above 0. Shapes: N target tokens of a batch, R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from tunesmith.core.records import Example
from tunesmith.models.chat import Chat
from tunesmith.train.hacking import hacked, read_rewards
from tunesmith.train.method import Forward
from tunesmith.train.policy import Level, Scale, clipped_loss, group_advantages, k3, log_ratio, mean_by_row
from tunesmith.train.policy_batch import figures_of, measured, numbers_of, prompt_units, rewards_of, token_log_probs, units_of
from tunesmith.train.reading import Reading
from tunesmith.train.rewards.settings import RewardConfig, labels_of
from tunesmith.train.sampled_settings import POLICY_RATE, SampledSettings
from tunesmith.train.samples import Group, token_counts
from tunesmith.train.units import Batch, Unit
from tunesmith.train.watch import Event

__all__ = ["Method", "Settings", "group_loss"]

Mean = Literal["token", "answer", "limit"]


class Settings(SampledSettings):
    """Settings of group relative policy optimisation."""

    beta: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Weight of the divergence from the base in the loss. 0: the base is read at validations alone."""
    kl_gradient: Literal["unbiased", "plain"] = "unbiased"
    """Gradient of the divergence: that of KL(policy ‖ base), or that of its estimate alone, as in the first paper."""
    scale: Scale = "group"
    """What advantages are divided by: the spread of the rewards in the `group`, in the whole `batch`, or `none` (Dr. GRPO)."""
    mean: Mean = "token"
    """What the loss is a mean over: `token`: all tokens alike (DAPO). `answer`: answers, whatever their length (the paper).
    `limit`: answers times max_new_tokens (Dr. GRPO, without bias towards long wrong answers)."""
    ratio: Level = "token"
    """Importance ratio of each `token`, or one of each whole `answer` (GSPO; use with mean: answer)."""

    @property
    def readings(self) -> int:
        """By the base for the divergence, and by the policy for several updates."""
        return int(self.beta > 0) + int(self.updates > 1)


class Method:
    """A unit is a prompt with its answers, which share it in a token tree."""

    record = Example
    loss_unit = "mean reward, negative"
    rate = POLICY_RATE

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rewards: Sequence[RewardConfig] = settings.rewards
        self.draws = settings.draws
        self.figures = figures_of(labels_of(settings.rewards))

    def prepare(self, examples: Sequence[Example], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """A unit for each prompt, with the example's own answer in place of those to come."""
        return prompt_units(examples, chat, self.rewards, max_tokens=max_tokens)

    def units(self, forward: Forward, groups: Sequence[Group]) -> list[Unit]:
        """The groups with their advantages, weighed as `mean` says."""
        bare = units_of(groups)
        nothing: list[tuple[float, ...]] = [()] * len(bare)
        old = token_log_probs(forward, bare) if self.settings.updates > 1 else nothing
        base = nothing
        if self.settings.beta:
            with forward.base():
                base = token_log_probs(forward, bare)
        advantages_GS = group_advantages(rewards_of(groups), self.settings.scale).tolist()
        return [
            replace(unit, weight=self._weight(unit), signal=(*advantages, *before), reference=reference)
            for unit, advantages, before, reference in zip(bare, advantages_GS, old, base, strict=True)
        ]

    def is_idle(self, unit: Unit) -> bool:
        """Equal rewards give no advantage, and without a divergence in the loss no gradient."""
        return not self.settings.beta and not any(unit.signal[: len(unit.rows)])

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum of the losses, to be divided by the sum of the weights (float32 scalar)."""
        s = self.settings
        log_p_N = forward.log_probs(batch)
        numbers = numbers_of(batch, columns=1, device=log_p_N.device)
        row_N = batch.layout.row_N
        old_N = numbers.columns_N[0] if numbers.columns_N else log_p_N.detach()
        return group_loss(
            log_p_N,
            old_N,
            numbers.base_N,
            numbers.row_R,
            row_N,
            beta=s.beta,
            unbiased=s.kl_gradient == "unbiased",
            mean=s.mean,
            ratio=s.ratio,
            clip=(s.clip_low, s.clip_high),
        )

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """The figures of answers to held-out prompts; `loss` is the mean reward, negative."""
        return measured(forward, units, labels_of(self.rewards))

    def alarm(self, rows: Sequence[Mapping[str, Any]]) -> Event | None:
        """A reward that rises while other figures say otherwise."""
        return hacked(rows, self.settings.watch, self.rewards)

    def read(self, rows: Sequence[Mapping[str, Any]]) -> Reading:
        """What the curve of the reward says."""
        return read_rewards(rows, self.settings.watch, self.rewards)

    def _weight(self, unit: Unit) -> int:
        answers = len(unit.rows)
        return {
            "token": sum(token_counts(unit.rows)),
            "answer": answers,
            "limit": answers * self.settings.max_new_tokens,
        }[self.settings.mean]


def group_loss(  # noqa: PLR0913 (the numbers of a batch, and what the settings say)
    log_p_N: torch.Tensor,
    old_N: torch.Tensor,
    base_N: torch.Tensor | None,
    advantage_R: torch.Tensor,
    row_N: torch.Tensor,
    *,
    beta: float,
    unbiased: bool,
    mean: Mean,
    ratio: Level,
    clip: tuple[float, float],
) -> torch.Tensor:
    """The loss of all answers together, summed as `mean` wants it before the division by the weights."""
    num_rows = len(advantage_R)
    log_ratio_N = log_ratio(log_p_N, old_N, row_N, num_rows, ratio)
    loss_N = clipped_loss(log_ratio_N, advantage_R[row_N], low=clip[0], high=clip[1])
    if base_N is not None:
        kl_N = k3(log_p_N, base_N)
        loss_N = loss_N + beta * (kl_N * log_ratio_N.exp() if unbiased else kl_N)
    return mean_by_row(loss_N, row_N, num_rows).sum() if mean == "answer" else loss_N.sum()
