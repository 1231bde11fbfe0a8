"""REINFORCE leave-one-out (Ahmadian et al. 2024, arXiv:2402.14740): each answer against the mean of the others to its prompt.

An answer is one action: its ratio is that of the whole answer, and the divergence from the base is taken off its reward.

    A = r − β log(π_old / π_base) − mean of the same over the other answers
    loss = −min(ρ A, clip(ρ, 1 − clip_low, 1 + clip_high) A)        ρ = π(answer) / π_old(answer)

Numbers of a unit: `signal` is the advantage of each row and, with several updates, log π_old of each row. R rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field

from tunesmith.core.records import Example
from tunesmith.models.chat import Chat
from tunesmith.train.hacking import hacked, read_rewards
from tunesmith.train.method import Forward
from tunesmith.train.policy import clipped_loss, leave_one_out
from tunesmith.train.policy_batch import figures_of, measured, prompt_units, rewards_of, row_sums, token_log_probs, units_of
from tunesmith.train.reading import Reading
from tunesmith.train.rewards.settings import RewardConfig, labels_of
from tunesmith.train.sampled_settings import POLICY_RATE, SampledSettings
from tunesmith.train.samples import Group, token_counts
from tunesmith.train.units import Batch, Unit
from tunesmith.train.watch import Event

__all__ = ["Method", "Settings"]


class Settings(SampledSettings):
    """Settings of REINFORCE leave-one-out."""

    samples: Annotated[int, Field(ge=2, le=1024)] = 4
    """Answers per prompt that are compared with each other."""
    beta: Annotated[float, Field(ge=0, le=100)] = 0.05
    """How much of an answer's divergence from the base is taken off its reward."""

    @property
    def readings(self) -> int:
        """By base and policy for the divergence, or by the policy alone for several updates."""
        return 2 if self.beta else int(self.updates > 1)


class Method:
    """A unit is a prompt with its answers, which share it in a token tree; a step is a mean over answers."""

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
        """The groups with their advantages and, where they are needed, the log-probabilities of whole answers."""
        bare = units_of(groups)
        rewards_GS = rewards_of(groups).double()
        old: list[list[float]] = [[] for _ in bare]
        if self.settings.beta or self.settings.updates > 1:
            old = self._answers(forward, bare)
        if self.settings.beta:
            with forward.base():
                base = self._answers(forward, bare)
            rewards_GS = rewards_GS - self.settings.beta * (torch.tensor(old) - torch.tensor(base)).double()
        advantages_GS = leave_one_out(rewards_GS).tolist()
        kept = old if self.settings.updates > 1 else [[] for _ in bare]
        return [
            replace(unit, weight=len(unit.rows), signal=(*advantages, *before))
            for unit, advantages, before in zip(bare, advantages_GS, kept, strict=True)
        ]

    def is_idle(self, unit: Unit) -> bool:
        """Answers without an advantage have no gradient."""
        return not any(unit.signal[: len(unit.rows)])

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum of the losses of the answers (float64 scalar)."""
        log_p_R = batch.sum_by_row(forward.log_probs(batch))
        halves = [(unit.signal[: len(unit.rows)], unit.signal[len(unit.rows) :]) for unit in batch.units]
        advantage_R = log_p_R.new_tensor([number for advantages, _ in halves for number in advantages])
        before = [number for _, old in halves for number in old]
        old_R = log_p_R.new_tensor(before) if before else log_p_R.detach()
        clip = {"low": self.settings.clip_low, "high": self.settings.clip_high}
        return clipped_loss(log_p_R - old_R, advantage_R, **clip).sum()

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """The figures of answers to held-out prompts; `loss` is the mean reward, negative."""
        return measured(forward, units, labels_of(self.rewards))

    def alarm(self, rows: Sequence[Mapping[str, Any]]) -> Event | None:
        """A reward that rises while other figures say otherwise."""
        return hacked(rows, self.settings.watch, self.rewards)

    def read(self, rows: Sequence[Mapping[str, Any]]) -> Reading:
        """What the curve of the reward says."""
        return read_rewards(rows, self.settings.watch, self.rewards)

    @staticmethod
    def _answers(forward: Forward, units: Sequence[Unit]) -> list[list[float]]:
        """log p of each whole answer."""
        found = token_log_probs(forward, units)
        return [row_sums(numbers, token_counts(unit.rows)) for unit, numbers in zip(units, found, strict=True)]
