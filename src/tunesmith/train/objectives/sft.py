"""Supervised fine-tuning: cross-entropy on the learned tokens alone.

Shapes: B rows, T positions, N learned positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tunesmith.models.packed.head import score_logits
from tunesmith.models.packed.layout import Tree
from tunesmith.models.packed.model import PackedModel
from tunesmith.train.batches import Padded

__all__ = ["score_padded", "sft", "sft_padded"]


def sft(model: PackedModel, batch: Tree) -> torch.Tensor:
    """Sum of −log p (nats, float32 scalar) over the learned tokens of a tree; divide by `batch.num_learned` for a mean."""
    return model.loss(batch)


def sft_padded(model: Any, batch: Padded) -> torch.Tensor:
    """The same over padded rows through the model's plain forward pass: the reference, and the way for models without trees."""
    logits_NV, target_N = _predictions(model, batch)
    return F.cross_entropy(logits_NV.float(), target_N, reduction="sum")


@torch.no_grad()
def score_padded(model: Any, batch: Padded) -> tuple[torch.Tensor, torch.Tensor]:
    """(log p(target)_N float32, right_N bool: whether the target is the likeliest token) over padded rows."""
    return score_logits(*_predictions(model, batch))


def _predictions(model: Any, batch: Padded) -> tuple[torch.Tensor, torch.Tensor]:
    logits_BTV = model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False).logits
    learned_BT = batch.learned_BT[:, 1:]  # position t is predicted at t − 1
    return logits_BTV[:, :-1][learned_BT], batch.ids_BT[:, 1:][learned_BT]
