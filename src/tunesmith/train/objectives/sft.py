"""Supervised fine-tuning: cross-entropy on the learned tokens alone.

Shapes: B rows, T positions, N learned positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tunesmith.train.batches import Batch

__all__ = ["sft"]


def sft(model: Any, batch: Batch) -> torch.Tensor:
    """Sum of −log p (nats, float32 scalar) over the learned tokens of the batch; divide by `batch.num_learned` for a mean."""
    logits_BTV = model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False).logits
    learned_BT = batch.learned_BT[:, 1:]  # position t is predicted at t − 1
    logits_NV = logits_BTV[:, :-1][learned_BT].float()
    return F.cross_entropy(logits_NV, batch.ids_BT[:, 1:][learned_BT], reduction="sum")
