"""Padded rows through a model's plain forward pass: the reference, and the execution path of models without trees.

Shapes: B rows, T positions, N target tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from tunesmith.models.chat import Encoded
from tunesmith.models.packed.divergence import Predictions
from tunesmith.models.packed.head import NO_PENALTY, Formula, Penalty, chunks_of, score_logits

__all__ = ["Padded", "PaddedModel", "collate"]


@dataclass(frozen=True, slots=True)
class Padded:
    """Padded rows. ids_BT int64, mask_BT 1 where a token is real, learned_BT true at targets, row_N the row of each."""

    ids_BT: torch.Tensor
    mask_BT: torch.Tensor
    learned_BT: torch.Tensor
    row_N: torch.Tensor
    num_learned: int
    num_tokens: int

    @property
    def lengths_BT(self) -> torch.Tensor:  # noqa: N802 (the shape is part of the name)
        """The length of each row (T = 1)."""
        return self.mask_BT.sum(1, keepdim=True).float()


def collate(rows: Sequence[Encoded], *, pad_id: int, device: torch.device | str) -> Padded:
    """Pad rows on the right to the longest."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    learned = torch.zeros((len(rows), longest), dtype=torch.bool)
    for i, row in enumerate(rows):
        n = len(row.ids)
        ids[i, :n] = torch.tensor(row.ids)
        mask[i, :n] = 1
        learned[i, :n] = torch.tensor(row.learned)
    learned[:, 0] = False  # nothing stands before the first token to predict it from
    row_N = learned.nonzero()[:, 0]
    return Padded(ids.to(device), mask.to(device), learned.to(device), row_N.to(device), int(learned.sum()), int(mask.sum()))


@dataclass(frozen=True, slots=True)
class PaddedModel:
    """A causal language model of transformers that reads padded rows; the counterpart of `PackedModel`."""

    model: Any
    pad_id: int

    def lay_out(self, rows: Sequence[Encoded]) -> Padded:
        """The rows padded, on the model's device."""
        return collate(rows, pad_id=self.pad_id, device=self.model.device)

    def loss(self, batch: Padded, weight_N: torch.Tensor | None = None, penalty: Penalty = NO_PENALTY) -> torch.Tensor:
        """Σ weight · (−log p + penalty) over all target tokens: nats, a float32 scalar."""
        logits_NV, target_N = self._predictions(batch)
        logits_NV = logits_NV.float()
        if weight_N is None and penalty == NO_PENALTY:
            return F.cross_entropy(logits_NV, target_N, reduction="sum")
        loss_N = F.cross_entropy(logits_NV, target_N, reduction="none", label_smoothing=penalty.label_smoothing)
        if penalty.z_loss:
            loss_N = loss_N + penalty.z_loss * logits_NV.logsumexp(-1).square()
        return (loss_N if weight_N is None else loss_N * weight_N).sum()

    def log_probs(self, batch: Padded) -> torch.Tensor:
        """log p_N (float32) with gradient."""
        logits_NV, target_N = self._predictions(batch)
        return -F.cross_entropy(logits_NV.float(), target_N, reduction="none")

    @torch.no_grad()
    def score(self, batch: Padded) -> tuple[torch.Tensor, torch.Tensor]:
        """(log p_N, right_N) without gradient."""
        return score_logits(*self._predictions(batch))

    @torch.no_grad()
    def predictions(self, batch: Padded) -> Predictions:
        """What is predicted, without gradient: as logits, since they are all there."""
        return Predictions(self._predictions(batch)[0])

    def summed(self, batch: Padded, formula: Formula) -> torch.Tensor:
        """Σ formula (float32 scalar) over all predictions."""
        logits_NV, _ = self._predictions(batch)
        parts = [formula(logits_NV[rows].float(), rows)[0].sum() for rows in chunks_of(len(logits_NV), logits_NV.shape[1])]
        return torch.stack(parts).sum()

    def logits(self, batch: Padded) -> torch.Tensor:
        """logits_NV of all predictions, with gradient."""
        return self._predictions(batch)[0]

    def hidden(self, batch: Padded) -> torch.Tensor:
        """hidden_ND, after the last norm, at the positions that predict a target token."""
        bare = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        out = bare.get_decoder()(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False)
        hidden_ND: torch.Tensor = out.last_hidden_state[:, :-1][batch.learned_BT[:, 1:]]
        return hidden_ND

    def log_probs_with_hidden(self, batch: Padded) -> tuple[torch.Tensor, torch.Tensor]:
        """`log_probs` and `hidden`, in two passes: what lies between them is the model's own."""
        return self.log_probs(batch), self.hidden(batch)

    def _predictions(self, batch: Padded) -> tuple[torch.Tensor, torch.Tensor]:
        logits_BTV = self.model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False).logits
        learned_BT = batch.learned_BT[:, 1:]  # position t is predicted at t − 1
        return logits_BTV[:, :-1][learned_BT], batch.ids_BT[:, 1:][learned_BT]
