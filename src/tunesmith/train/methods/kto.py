"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv:2402.01306): rows with one answer and a label, good or bad.

    loss = λ · (1 − σ(±β · (log π(answer) − log π_base(answer) − KL))),   + for a desirable answer, − for an undesirable one

KL estimates KL(π ‖ π_base) by answers of other prompts: the mean over the batch of log π(y′|x) − log π_base(y′|x), 0 at least,
without gradient. The answer y′ of the nearest row before it that has another prompt goes with the prompt x (TRL takes the row
before), so that what the base makes of it is computed once. Shapes: N target tokens of a batch, R rows; a unit is one row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field

from tunesmith.core.errors import TrainingError
from tunesmith.core.labelled import Labelled
from tunesmith.core.settings import Section
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.labels import encode_row
from tunesmith.train.formulas import kahneman_tversky
from tunesmith.train.method import Direction, Forward
from tunesmith.train.pairs import PREFERENCE_RATE, references_by_row, share_above
from tunesmith.train.units import Batch, Unit

__all__ = ["Method", "Settings"]


class Settings(Section):
    """Settings of Kahneman-Tversky optimisation."""

    beta: Annotated[float, Field(gt=0, le=100)] = 0.1
    """How strongly the tuned model is kept close to the base; higher is closer."""
    desirable_weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Weight of the loss of desirable answers. With d of them and u undesirable ones, the paper keeps `desirable_weight` · d /
    (`undesirable_weight` · u) between 1 and 4/3."""
    undesirable_weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Weight of the loss of undesirable answers."""


class Method:
    """A unit is a row and counts once. Its signal is 1 for a desirable answer and 0 for another, and the batch's KL."""

    record = Labelled
    figures: Mapping[str, Direction] = {
        "loss": "lower",
        "label_accuracy": "higher",
        "signed_reward": "higher",
        "kl": "lower",
    }
    loss_unit = "loss per row"
    rate = PREFERENCE_RATE

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def prepare(self, examples: Sequence[Labelled], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """A unit for each row, with the answer of the row before to score. TrainingError for a single row: KL needs two."""
        if len(examples) < 2:
            raise TrainingError(
                "KTO needs answers of other prompts",
                value=f"{len(examples)} row in one of the splits",
                expected="two rows at least in train and in val",
                hint="--set split.val=0.2, or more rows",
            )
        rows = [encode_row(chat, one, max_tokens=max_tokens)[0] for one in examples]
        return [
            Unit((row,), weight=1, signal=(float(one.label), 0.0), only_scored=(_mismatched(row, before, max_tokens),))
            for one, row, before in zip(examples, rows, _answers_before(examples, rows), strict=True)
        ]

    def reference(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> list[tuple[float, ...]]:
        """Of each row, log π_base of its own answer and of the other one; the adapter is off while this runs."""
        return references_by_row(forward, [replace(unit, rows=(*unit.rows, *unit.only_scored)) for unit in units], on_done)

    def signal(self, forward: Forward, units: Sequence[Unit]) -> list[tuple[float, ...]]:
        """The label of each unit, and the KL over all of them."""
        kl = self._kl(forward, units, lambda _: None)
        return [(unit.signal[0], kl) for unit in units]

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum of the rows' losses (float64 scalar)."""
        ratio_R = self._ratios(batch, forward.log_probs(batch))
        return self._losses(ratio_R, batch.units, kl=None).sum()

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """Means over rows: `loss`; `label_accuracy`, the share of answers whose reward β · (log π − log π_base − KL) has the
        sign of their label (0 counts half); `signed_reward`, that reward, turned for undesirable answers; and the `kl` (nats).
        """
        kl = self._kl(forward, units, lambda _: None)
        losses, signed = [], []
        for batch, log_p_N, _ in forward.scored(units, on_done):
            ratio_R = self._ratios(batch, log_p_N)
            losses.append(self._losses(ratio_R, batch.units, kl=kl).cpu())
            sign_R = torch.tensor([1.0 if unit.signal[0] else -1.0 for unit in batch.units], dtype=torch.float64)
            signed.append(self.settings.beta * sign_R * (ratio_R.cpu() - kl))
        signed_R = torch.cat(signed)
        return {
            "loss": float(torch.cat(losses).mean()),
            "label_accuracy": share_above(signed_R),
            "signed_reward": float(signed_R.mean()),
            "kl": kl,
        }

    def _kl(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> float:
        """max(0, mean of log π(y′|x) − log π_base(y′|x)): nats."""
        others = [replace(unit, rows=unit.only_scored, only_scored=()) for unit in units]
        total = 0.0
        for batch, log_p_N, _ in forward.scored(others, on_done):
            base_R = torch.tensor([unit.reference[1] for unit in batch.units], dtype=torch.float64)
            total += float((batch.sum_by_row(log_p_N).cpu() - base_R).sum())
        return max(0.0, total / len(units))

    def _ratios(self, batch: Batch, log_p_N: torch.Tensor) -> torch.Tensor:
        """log π − log π_base of each row: float64."""
        log_p_R = batch.sum_by_row(log_p_N)
        return log_p_R - log_p_R.new_tensor([unit.reference[0] for unit in batch.units])

    def _losses(self, ratio_R: torch.Tensor, units: Sequence[Unit], *, kl: float | None) -> torch.Tensor:
        s = self.settings
        desirable_R = torch.tensor([bool(unit.signal[0]) for unit in units], device=ratio_R.device)
        kl_R = ratio_R.new_tensor([unit.signal[1] if kl is None else kl for unit in units])
        weights = (s.desirable_weight, s.undesirable_weight)
        return kahneman_tversky(ratio_R, desirable_R, kl_R, beta=s.beta, weights=weights)


def _answers_before(examples: Sequence[Labelled], rows: Sequence[Encoded]) -> list[Encoded]:
    """For each row the nearest one before it (the last is before the first) that answers another prompt; else any."""
    found = []
    for place, one in enumerate(examples):
        before = [(place - back) % len(rows) for back in range(1, len(rows))]
        found.append(rows[next((n for n in before if examples[n].prompt != one.prompt), before[0])])
    return found


def _mismatched(row: Encoded, other: Encoded, max_tokens: int) -> Encoded:
    """The prompt of `row` with the answer of `other`."""
    begin, other_begin = (_answer_begin(one) for one in (row, other))
    ids = (*row.ids[:begin], *other.ids[other_begin:])
    learned = (*row.learned[:begin], *other.learned[other_begin:])
    return Encoded(ids[:max_tokens], learned[:max_tokens])


def _answer_begin(row: Encoded) -> int:
    """Where the answer begins; the length of a row whose answer was cut away."""
    return row.learned.index(True) if any(row.learned) else len(row.ids)
