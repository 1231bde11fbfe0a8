"""Tree attention on an accelerator: torch's flex_attention with a block mask made from the tree.

Segments are in depth-first order, so all descendants of a token's segment end at one position, its reach: query q may attend
to key k exactly if k ≤ q < reach(k). Blocks in which no query may attend to any key are never computed.

Shapes: T tokens of the tree, P the same padded to full blocks, H query heads, K key heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

from tunesmith.models.packed.attention_plan import AttentionPlan

__all__ = ["attend_by_blocks"]

_BLOCK = 128  # tokens: flex_attention's own block, and what lengths are filled up to, so that few of them are compiled for


def attend_by_blocks(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, plan: AttentionPlan, scale: float, *, window: int, softcap: float | None
) -> torch.Tensor:
    """softmax(q kᵀ · scale) v along the tree; q (T, H, D), k and v (T, K, D) → (T, H, D).

    Compiled where q lies on a GPU; elsewhere written out by torch, slowly, which is what tests compare.
    """
    T, H, _ = q.shape
    filling = -T % _BLOCK
    q, k, v = (F.pad(x, (0, 0, 0, 0, 0, filling)).transpose(0, 1)[None] for x in (q, k, v))
    out = _flex(q.is_cuda)(
        q, k, v, _capped(softcap), plan.block_mask(T + filling, window), scale=scale, enable_gqa=k.shape[1] != H
    )
    return out[0, :, :T].transpose(0, 1)  # type: ignore[no-any-return]


@cache
def _flex(compiled: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True) if compiled else flex_attention


@cache
def _capped(softcap: float | None) -> Callable[..., torch.Tensor] | None:
    if softcap is None:
        return None

    def capped(score: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return softcap * torch.tanh(score / softcap)

    return capped
