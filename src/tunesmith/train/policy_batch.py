"""What policy methods share: the units of groups of answers, their numbers as tensors, and the figures of held-out prompts.

Shapes: U units (prompts), R rows (answers), N target tokens of a batch.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from tunesmith.core.records import Example
from tunesmith.eval.metrics.repetition import loops
from tunesmith.eval.stats import summarise
from tunesmith.models.chat import Chat
from tunesmith.train.method import Direction, Forward
from tunesmith.train.policy import k3
from tunesmith.train.rewards.opening import refuse_no_reward
from tunesmith.train.rewards.settings import RewardConfig
from tunesmith.train.samples import Group, token_counts
from tunesmith.train.units import Batch, Unit

__all__ = [
    "Numbers",
    "figures_of",
    "kl_of",
    "measured",
    "numbers_of",
    "prompt_units",
    "rewards_of",
    "row_sums",
    "token_log_probs",
    "token_numbers",
    "units_of",
]


@dataclass(frozen=True, slots=True)
class Numbers:
    """The `Unit.signal` and `Unit.reference` of a batch: one number a row, and columns of one number a target token."""

    row_R: torch.Tensor
    columns_N: tuple[torch.Tensor, ...]
    base_N: torch.Tensor | None


def prompt_units(examples: Sequence[Example], chat: Chat, rewards: Sequence[RewardConfig], *, max_tokens: int) -> list[Unit]:
    """A unit for each prompt, with the example's own answer. TrainingError if there is no reward to learn from."""
    refuse_no_reward(rewards)
    return [Unit((chat.answer_row(example.messages, max_tokens=max_tokens),), weight=1) for example in examples]


def token_log_probs(forward: Forward, units: Sequence[Unit]) -> list[tuple[float, ...]]:
    """Of each unit, log p of the target tokens of all its rows, dropout off."""
    return _by_unit(units, ((batch, log_p_N) for batch, log_p_N, _ in forward.scored(units, lambda done: None)))


def token_numbers(forward: Forward, units: Sequence[Unit], numbers: Callable[[Batch], torch.Tensor]) -> list[tuple[float, ...]]:
    """Of each unit, what `numbers` gives for the target tokens of all its rows, dropout off and without gradient."""
    with torch.no_grad():
        return _by_unit(units, ((batch, numbers(batch)) for batch in forward.batches(units, lambda done: None)))


def _by_unit(units: Sequence[Unit], found: Iterable[tuple[Batch, torch.Tensor]]) -> list[tuple[float, ...]]:
    """A number for each target token of each batch, as tuples of the units in their order."""
    of: dict[Unit, tuple[float, ...]] = {}
    for batch, numbers_N in found:
        sizes = [sum(token_counts(unit.rows)) for unit in batch.units]
        of.update((unit, tuple(part.tolist())) for unit, part in zip(batch.units, torch.split(numbers_N, sizes), strict=True))
    return [of[unit] for unit in units]


def units_of(groups: Sequence[Group], weight: int = 1) -> list[Unit]:
    """The bare units of groups: their rows and answers."""
    return [Unit(group.rows, weight, answers=group.samples) for group in groups]


def rewards_of(groups: Sequence[Group]) -> torch.Tensor:
    """rewards_GS in float32."""
    return torch.tensor([[sample.reward for sample in group.samples] for group in groups])


def numbers_of(batch: Batch, *, columns: int, device: torch.device) -> Numbers:
    """The numbers of a batch whose units have, in `signal`, one number a row and then up to `columns` columns of tokens.

    A unit that has fewer columns has none at all; so have then all units of its run.
    """
    rows: list[float] = []
    tokens: list[list[float]] = [[] for _ in range(columns)]
    base: list[float] = []
    for unit in batch.units:
        R, N = len(unit.rows), sum(token_counts(unit.rows))
        rows += unit.signal[:R]
        for place, column in enumerate(tokens):
            column += unit.signal[R + place * N : R + (place + 1) * N]
        base += unit.reference
    found = tuple(torch.tensor(column, device=device) for column in tokens if column)
    return Numbers(torch.tensor(rows, device=device), found, torch.tensor(base, device=device) if base else None)


def row_sums(rows: Sequence[float], counts: Sequence[int]) -> list[float]:
    """The sum over the tokens of each row, in float64."""
    parts = torch.split(torch.tensor(rows, dtype=torch.float64), list(counts))
    return [float(part.sum()) for part in parts]


def figures_of(labels: Sequence[str]) -> dict[str, Direction]:
    """The validation figures of a method with these rewards."""
    shared: dict[str, Direction] = {
        "loss": "lower",
        "reward": "higher",
        "reward_low": "higher",
        "reward_high": "higher",
        "kl": "lower",
        "length": "lower",
        "ended": "higher",
        "repetition": "lower",
    }
    return shared | {f"reward_{label}": "higher" for label in labels}


def measured(forward: Forward, units: Sequence[Unit], labels: Sequence[str]) -> dict[str, float]:
    """The figures over held-out answers: `reward` with its 95 % interval over prompts (`reward_low`, `reward_high`; the mean
    itself where it has no spread), `loss` (the reward, negative), each reward, `kl` from the base in nats per token (k3),
    tokens per answer (`length`), the share that ended by themselves (`ended`) and that repeat themselves (`repetition`).
    """
    answers = [sample for unit in units for sample in unit.answers]
    groups = [str(number) for number, unit in enumerate(units) for _ in unit.answers]
    found = summarise([sample.reward for sample in answers], groups)
    reward = statistics.fmean(sample.reward for sample in answers)
    low, high = (reward, reward) if found.ci is None else (found.ci.low, found.ci.high)
    return {
        "loss": -reward,
        "reward": reward,
        "reward_low": low,
        "reward_high": high,
        "kl": kl_of(forward, units),
        "length": statistics.fmean(len(sample.ids) for sample in answers),
        "ended": statistics.fmean(sample.ended for sample in answers),
        "repetition": statistics.fmean(loops(sample.text) for sample in answers),
        **{f"reward_{name}": statistics.fmean(s.rewards[n] for s in answers) for n, name in enumerate(labels)},
    }


def kl_of(forward: Forward, units: Sequence[Unit]) -> float:
    """Mean divergence from the base over all tokens of the answers, in nats per token."""
    with forward.base():
        base = token_log_probs(forward, units)
    own = token_log_probs(forward, units)
    log_p_N, base_N = (torch.tensor([x for part in found for x in part], dtype=torch.float64) for found in (own, base))
    return float(k3(log_p_N, base_N).mean())
