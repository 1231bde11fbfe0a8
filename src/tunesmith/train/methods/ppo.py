"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347), with values of tokens and a divergence in the reward.

A token is an action. Its reward is −β log(π_old / π_base), and that of the last one also what the rewards give for the answer
(Ouyang et al. 2022, arXiv:2203.02155). A value head on the hidden states, V, says what is still to come before each token.
Advantages A are generalised (`gamma`, `lam`; arXiv:1506.02438), then whitened over a rollout. With R = A + V before whitening,
of the weights that gave the answers, and ρ = π / π_old, the loss of a token is

    −min(ρ A, clip(ρ, 1 − clip_low, 1 + clip_high) A) + value_weight · ½ max((V − R)², (V_clipped − R)²)

Policy, values, base and reference share one copy of the weights. Numbers of a unit: `signal` is the mean advantage of each row,
then a column of one number a target token for each of A, R, V before the updates and, with several updates, log π_old.
Shapes: N target tokens of a batch, T those of an answer, R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field

from tunesmith.core.records import Example
from tunesmith.models.chat import Chat
from tunesmith.train.hacking import hacked, read_rewards
from tunesmith.train.method import Direction, Forward
from tunesmith.train.policy import clipped_loss, clipped_value_loss, generalised_advantages, whitened
from tunesmith.train.policy_batch import (
    figures_of,
    measured,
    numbers_of,
    prompt_units,
    token_log_probs,
    token_numbers,
    units_of,
)
from tunesmith.train.reading import Reading
from tunesmith.train.rewards.settings import RewardConfig, labels_of
from tunesmith.train.sampled_settings import POLICY_RATE, SampledSettings
from tunesmith.train.samples import Group, token_counts
from tunesmith.train.units import Batch, Unit
from tunesmith.train.watch import Event

__all__ = ["Method", "Settings", "Values"]

_COLUMNS = 4


class Settings(SampledSettings):
    """Settings of proximal policy optimisation."""

    samples: Annotated[int, Field(ge=1, le=1024)] = 1
    """Answers per prompt. They are not compared with each other."""
    beta: Annotated[float, Field(ge=0, le=100)] = 0.05
    """How much of each token's divergence from the base is taken off its reward."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 1.0
    """How much a reward counts one token earlier."""
    lam: Annotated[float, Field(ge=0, le=1)] = 0.95
    """λ of generalised advantages: 0 trusts the values alone, 1 the rewards alone."""
    value_weight: Annotated[float, Field(ge=0, le=10)] = 0.1
    """Weight of the loss of the values."""
    clip_value: Annotated[float, Field(gt=0, le=100)] = 0.2
    """How far a value may move from the value before the updates and still count."""

    @property
    def readings(self) -> int:
        """By the policy, for its values, and by the base for the divergence."""
        return 2 + int(self.beta > 0)


class Values(torch.nn.Module):
    """A value for each hidden state: linear in its direction, zero before training.

    An optimiser such as Adam moves each weight by about the learning rate, so the value of a state as it is would jump by the
    rate times the sum of its entries: by several rewards at the rate of an adapter. The length of a state is left out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(width, 1)
        torch.nn.init.zeros_(self.linear.weight)
        torch.nn.init.zeros_(self.linear.bias)

    def forward(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """value_N1."""
        value_N1: torch.Tensor = self.linear(F.normalize(hidden_ND, dim=-1))
        return value_N1


class Method:
    """A unit is a prompt with its answers, which share it in a token tree; a step is a mean over tokens."""

    record = Example
    loss_unit = "mean reward, negative"
    rate = POLICY_RATE

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rewards: Sequence[RewardConfig] = settings.rewards
        self.draws = settings.draws
        self.figures: Mapping[str, Direction] = {**figures_of(labels_of(settings.rewards)), "explained": "higher"}

    def head(self, width: int) -> torch.nn.Module:
        """The value of a hidden state; zero at first."""
        return Values(width)

    def prepare(self, examples: Sequence[Example], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """A unit for each prompt, with the example's own answer in place of those to come."""
        return prompt_units(examples, chat, self.rewards, max_tokens=max_tokens)

    def units(self, forward: Forward, groups: Sequence[Group]) -> list[Unit]:
        """The groups with advantages, returns and values of their tokens, whitened over all of them."""
        bare = units_of(groups)
        old, values = token_log_probs(forward, bare), token_numbers(forward, bare, lambda batch: self._values(forward, batch))
        base = old
        if self.settings.beta:
            with forward.base():
                base = token_log_probs(forward, bare)
        found = [self._advantages(*numbers) for numbers in zip(bare, old, base, values, strict=True)]
        sizes = [len(advantage_N) for advantage_N in found]
        even = torch.split(whitened(torch.cat(found)), sizes)
        made = []
        for unit, plain_N, advantage_N, value, before in zip(bare, found, even, values, old, strict=True):
            rows = [float(part.mean()) for part in torch.split(advantage_N, token_counts(unit.rows))]
            returns = (plain_N + torch.tensor(value, dtype=torch.float64)).tolist()
            kept = before if self.settings.updates > 1 else ()
            signal = (*rows, *advantage_N.tolist(), *returns, *value, *kept)
            made.append(replace(unit, weight=len(advantage_N), signal=signal))
        return made

    def is_idle(self, unit: Unit) -> bool:
        """Never: values are learned from every answer."""
        return False

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum of the losses of the tokens (float32 scalar)."""
        s = self.settings
        log_p_N, hidden_ND = forward.log_probs_with_hidden(batch)
        value_N = forward.head(hidden_ND.float())[:, 0]
        advantage_N, return_N, before_N, *old = numbers_of(batch, columns=_COLUMNS, device=log_p_N.device).columns_N
        old_N = old[0] if old else log_p_N.detach()
        policy_N = clipped_loss(log_p_N - old_N, advantage_N, low=s.clip_low, high=s.clip_high)
        values_N = clipped_value_loss(value_N, before_N, return_N, clip=s.clip_value)
        return (policy_N + s.value_weight * values_N).sum()

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """The figures of answers to held-out prompts, and the share of the variance of their returns that the values explain
        (`explained`; below 0 they are worse than a constant). `loss` is the mean reward, negative."""
        _, return_N, value_N = (torch.cat(columns) for columns in zip(*map(self._columns, units), strict=True))
        spread = float(return_N.var()) if len(return_N) > 1 else 0.0
        explained = 1 - float((return_N - value_N).var()) / spread if spread > 0 else 0.0
        return {**measured(forward, units, labels_of(self.rewards)), "explained": explained}

    def alarm(self, rows: Sequence[Mapping[str, Any]]) -> Event | None:
        """A reward that rises while other figures say otherwise."""
        return hacked(rows, self.settings.watch, self.rewards)

    def read(self, rows: Sequence[Mapping[str, Any]]) -> Reading:
        """What the curve of the reward says."""
        return read_rewards(rows, self.settings.watch, self.rewards)

    @staticmethod
    def _columns(unit: Unit) -> tuple[torch.Tensor, ...]:
        """Advantages, returns and values of the unit's tokens."""
        R, N = len(unit.rows), sum(token_counts(unit.rows))
        numbers = torch.tensor(unit.signal[R : R + 3 * N], dtype=torch.float64)
        return torch.split(numbers, N)

    @staticmethod
    def _values(forward: Forward, batch: Batch) -> torch.Tensor:
        """value_N before each target token."""
        value_N: torch.Tensor = forward.head(forward.hidden(batch).float())[:, 0]
        return value_N

    def _advantages(self, unit: Unit, old: Sequence[float], base: Sequence[float], values: Sequence[float]) -> torch.Tensor:
        """advantage_N of the answers of a unit, each by itself, in float64."""
        counts = token_counts(unit.rows)
        parts = [torch.split(torch.tensor(numbers, dtype=torch.float64), counts) for numbers in (old, base, values)]
        found = []
        for sample, old_T, base_T, value_T in zip(unit.answers, *parts, strict=True):
            reward_T = -self.settings.beta * (old_T - base_T)
            reward_T[-1] += sample.reward
            found.append(generalised_advantages(reward_T, value_T, gamma=self.settings.gamma, lam=self.settings.lam))
        return torch.cat(found)
