"""What methods that learn from pairs of answers have in common: a unit is a pair, chosen row first, and counts once.

Shapes: N target tokens of a batch, R rows, U units, each of two rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from tunesmith.core.records import Preference
from tunesmith.models.chat import Chat
from tunesmith.models.labels import encode_row
from tunesmith.train.method import Forward, Rate
from tunesmith.train.units import Batch, Unit

__all__ = ["PREFERENCE_RATE", "log_probs_by_pair", "pair_units", "references_by_row", "share_above"]

PREFERENCE_RATE = Rate(
    0.05, "preference tuning takes about a twentieth of the rate of supervised fine-tuning (Zephyr a 40th, Tulu 3 a tenth)"
)


def pair_units(rows: Sequence[Preference], chat: Chat, *, max_tokens: int) -> list[Unit]:
    """A unit for each preference: both rows begin with the same prompt, and the answers alone are learned."""
    return [Unit(encode_row(chat, row, max_tokens=max_tokens), weight=1) for row in rows]


def log_probs_by_pair(batch: Batch, log_p_N: torch.Tensor, *, per_token: bool = False) -> torch.Tensor:
    """log π of both answers of each pair, end token included: log_p_U2 in float64, summed or, `per_token`, the mean."""
    log_p_R = batch.mean_by_row(log_p_N) if per_token else batch.sum_by_row(log_p_N)
    return log_p_R.view(-1, 2)


def references_by_row(forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> list[tuple[float, ...]]:
    """log π_base, summed over the target tokens, of each row of each unit; the adapter is off while this runs."""
    found: dict[Unit, tuple[float, ...]] = {}
    for batch, log_p_N, _ in forward.scored(units, on_done):
        sums = iter(batch.sum_by_row(log_p_N).tolist())
        found.update((unit, tuple(next(sums) for _ in unit.rows)) for unit in batch.units)
    return [found[unit] for unit in units]


def share_above(values_U: torch.Tensor) -> float:
    """The share of values above zero; a zero counts half."""
    return float(((values_U > 0).double() + (values_U >= 0).double()).mean() / 2)
