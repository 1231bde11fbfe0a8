"""Reward model (Bradley & Terry 1952; Ouyang et al. 2022, arXiv:2203.02155, equation 1): a score for an answer, from pairs.

The score r is one linear map of the hidden state of the answer's end token. The loss of a pair is

    −log σ(r(chosen) − r(rejected) − m) + c (r(chosen) + r(rejected))²

with a margin m by how much better the chosen answer was rated (Llama 2; arXiv:2307.09288, section 3.2.2), and c (`centre`),
which keeps scores around 0 (arXiv:2312.09244): a difference does not say where it lies.

The trained model scores answers and writes none. Numbers of a unit: `signal` is the margin and the number of the pair's
cluster: pairs of one document or with one prompt belong together.
Shapes: D width, U units, each of two rows with one target token each, which stands behind the end token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field

from tunesmith.core.errors import TrainingError
from tunesmith.core.records import Preference
from tunesmith.core.settings import Section
from tunesmith.eval.clusters import clusters
from tunesmith.eval.preferred import measure_pairs, shared_labels
from tunesmith.models.chat import Chat, Encoded
from tunesmith.train.method import Direction, Forward
from tunesmith.train.pairs import pair_units
from tunesmith.train.units import Batch, Unit

__all__ = ["Method", "Settings"]

_GAPS = ("score_gap", "margin")  # columns that say by how much the chosen answer was rated better


class Settings(Section):
    """Settings of a reward model."""

    margin: Annotated[float, Field(ge=0, le=100)] = 0.0
    """How far the scores should lie apart for each point between the ratings of the two answers. The points are read from the
    column `score_gap` (which rankings with scores have) or `margin`, or from `score_chosen` and `score_rejected`. 0: ratings
    do not count."""
    centre: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight of the squared sum of the two scores in the loss, which keeps scores around 0. 0.01 is usual."""


class Method:
    """A unit is a pair, chosen row first, and counts once, so a step is a mean over pairs. Its rows share their prompt."""

    record = Preference
    figures: Mapping[str, Direction] = {
        "loss": "lower",
        "accuracy": "higher",
        "accuracy_low": "higher",
        "accuracy_high": "higher",
        "calibration": "lower",
        "margin": "higher",
    }
    loss_unit = "nats per pair"
    generates = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def head(self, width: int) -> torch.nn.Module:
        """One number for a hidden state. It has no bias: a difference of scores would not tell it."""
        return torch.nn.Linear(width, 1, bias=False)

    def prepare(self, examples: Sequence[Preference], chat: Chat, *, max_tokens: int) -> list[Unit]:
        """A unit for each preference. TrainingError if the margin needs a rating that a row does not have."""
        pairs = pair_units(examples, chat, max_tokens=max_tokens - 1)  # each row gets one token more
        together = clusters([{"document": row.group, **shared_labels(row)} for row in examples]).names
        number = {name: float(n) for n, name in enumerate(dict.fromkeys(together))}
        return [
            replace(unit, rows=tuple(map(self.score_row, unit.rows)), signal=(self._margin(row), number[cluster]))
            for unit, row, cluster in zip(pairs, examples, together, strict=True)
        ]

    @staticmethod
    def score_row(row: Encoded) -> Encoded:
        """The row with one target token alone, behind its last learned one: what predicts it is the hidden state of the end
        token of the answer, in which the whole answer has been read."""
        end = max((place for place, mark in enumerate(row.learned) if mark), default=len(row.ids) - 1)
        return Encoded((*row.ids[: end + 1], row.ids[end]), (*(False,) * (end + 1), True), row.dropped)

    def scores(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """score_R of all rows of a batch, in float32 with gradient."""
        score_R: torch.Tensor = forward.head(forward.hidden(batch).float())[:, 0]
        return score_R

    def check(self, examples: Mapping[str, Sequence[Preference]]) -> None:
        """TrainingError for a row that lacks the ratings that `margin` needs."""
        for row in (row for rows in examples.values() for row in rows):
            self._margin(row)

    def loss(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """The sum of the pairs' losses (float64 scalar, nats)."""
        return self._losses(self._scores_of(forward, batch), batch.units).sum()

    def validate(self, forward: Forward, units: Sequence[Unit], on_done: Callable[[int], None]) -> dict[str, float]:
        """Over pairs: `loss`, `accuracy` with its 95 % interval (see `eval.preferred`; the share itself where there is one
        document), the expected `calibration` error of σ(difference), and the mean difference of the scores (`margin`)."""
        differences: list[float] = []
        groups: list[str] = []
        loss = 0.0
        for batch in forward.batches(units, on_done):
            with torch.no_grad():
                score_U2 = self._scores_of(forward, batch)
            loss += float(self._losses(score_U2, batch.units).sum())
            differences += (score_U2[:, 0] - score_U2[:, 1]).tolist()
            groups += [f"{unit.signal[1]:.0f}" for unit in batch.units]
        found = measure_pairs(differences, groups)
        share = found.accuracy.share or 0.0
        low, high = (share, share) if found.accuracy.ci is None else (found.accuracy.ci.low, found.accuracy.ci.high)
        return {
            "loss": loss / len(units),
            "accuracy": share,
            "accuracy_low": low,
            "accuracy_high": high,
            "calibration": found.calibration,
            "margin": found.margin,
        }

    def _scores_of(self, forward: Forward, batch: Batch) -> torch.Tensor:
        """score_U2 in float64."""
        return self.scores(forward, batch).double().view(-1, 2)

    def _losses(self, score_U2: torch.Tensor, units: Sequence[Unit]) -> torch.Tensor:
        margin_U = score_U2.new_tensor([unit.signal[0] for unit in units])
        loss_U = -F.logsigmoid(score_U2[:, 0] - score_U2[:, 1] - margin_U)
        return loss_U + self.settings.centre * score_U2.sum(1).square()

    def _margin(self, row: Preference) -> float:
        if not self.settings.margin:
            return 0.0
        try:
            return self.settings.margin * _gap(row.meta)
        except (KeyError, ValueError) as error:
            raise TrainingError(
                "objective.margin needs to know by how much the chosen answer was rated better",
                value=f"row {row.id} has the columns {', '.join(row.meta) or 'none'} ({error})",
                expected="a number in score_gap or margin, or in score_chosen and score_rejected, in every row",
                hint="--set objective.margin=0, or give these rows their ratings",
            ) from error


def _gap(columns: Mapping[str, str]) -> float:
    """Points between the ratings of the two answers. KeyError or ValueError if there are none, or the rejected one has more."""
    named = next((name for name in _GAPS if name in columns), None)
    gap = float(columns[named]) if named else float(columns["score_chosen"]) - float(columns["score_rejected"])
    if not 0 <= gap < math.inf:
        raise ValueError(f"{gap:g} points")
    return gap
