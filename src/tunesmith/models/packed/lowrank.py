"""LoRA layers with fewer passes over memory: base product, both small products and the sum fused.

peft computes x Wᵀ, then converts, drops, multiplies, scales and adds, each in a separate pass. Here the small products are
added into the large result, the scale is applied to the narrow middle, and the gradient is hand-written in the same way.
Dropout is a list of the few entries that are zero, not a mask over all of them.

Shapes: T tokens, I inputs, O outputs, r rank. The derivation, with s = scale · gain, m the 0/1 dropout mask, G = ∂L/∂y:

    forward   x̃ = m ∘ x (T, I)     h = s x̃ Aᵀ (T, r)     y = x Wᵀ + b + h Bᵀ (T, O)
    backward  ∂L/∂B = Gᵀ h (O, r)          since y contains h Bᵀ
              ∂L/∂(x̃ Aᵀ) = s G B (T, r)    called dh below
              ∂L/∂A = dhᵀ x̃ (r, I)
              ∂L/∂x = G W + m ∘ (dh A) (T, I)

W and b are frozen, so the two large products G W and x Wᵀ are all that a frozen layer would cost. A W in 4 bits is dequantised
for each of the two products and not kept between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from tunesmith.models.quantised import FourBit, four_bit, is_four_bit

__all__ = ["Dropped", "draw_dropped", "lean_adapters", "low_rank"]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Dropout of one tensor: the numbers of its zeroed entries in memory order, rising, and the gain of the others."""

    entries: torch.Tensor
    gain: float

    def zeroed(self, x: torch.Tensor) -> torch.Tensor:
        """A copy of `x` whose dropped entries are zero; the gain is left to the caller."""
        kept = x.clone(memory_format=torch.contiguous_format)
        kept.view(-1).index_fill_(0, self.entries.long(), 0.0)
        return kept


class _LowRank(torch.autograd.Function):
    """x Wᵀ + b + scale · drop(x) Aᵀ Bᵀ. x (T, I), W (O, I) and b frozen, A (r, I), B (O, r); A and B work in x's type."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        W: torch.Tensor | FourBit,
        bias: torch.Tensor | None,
        A: torch.Tensor,
        B: torch.Tensor,
        scale: float,
        drop: Dropped | None,
    ) -> torch.Tensor:
        a, b = A.to(x.dtype), B.to(x.dtype)
        if drop is not None:
            scale *= drop.gain
        h = (_zeroed(x, drop) @ a.t()).mul_(scale)
        ctx.save_for_backward(x, *((W,) if isinstance(W, torch.Tensor) else ()), a, b, h)
        ctx.scale, ctx.drop = scale, drop
        ctx.packed = None if isinstance(W, torch.Tensor) else W
        whole = W if isinstance(W, torch.Tensor) else W.whole(x.dtype)
        out = x @ whole.t() if bias is None else torch.addmm(bias, x, whole.t())
        return out.addmm_(h, b.t())

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, *weight, a, b, h = ctx.saved_tensors
        dB = (h.t() @ grad).t().float()  # (hᵀ G)ᵀ (O, r): twice as fast as Gᵀ h
        dh = (grad @ b).mul_(ctx.scale)  # s G B (T, r); the scale contains the gain of dropout
        dA = (dh.t() @ _zeroed(x, ctx.drop)).float()
        dx = None
        if ctx.needs_input_grad[0]:
            W = weight[0] if weight else ctx.packed.whole(grad.dtype)
            dx = _add_product(grad @ W, dh, a, ctx.drop)
        return dx, None, None, dA, dB, None, None


def _zeroed(x: torch.Tensor, drop: Dropped | None) -> torch.Tensor:
    return x if drop is None else drop.zeroed(x)


def _add_product(dx: torch.Tensor, dh: torch.Tensor, a: torch.Tensor, drop: Dropped | None) -> torch.Tensor:
    """dx + m ∘ (dh a), in place: the values at the dropped entries are restored afterwards."""
    if drop is None:
        return dx.addmm_(dh, a)
    entries, flat = drop.entries.long(), dx.view(-1)
    before = flat.index_select(0, entries)
    dx.addmm_(dh, a)
    flat.index_copy_(0, entries, before)
    return dx


def low_rank(
    x: torch.Tensor,
    W: torch.Tensor | FourBit,
    bias: torch.Tensor | None,
    A: torch.Tensor,
    B: torch.Tensor,
    scale: float,
    drop: Dropped | None,
) -> torch.Tensor:
    """x Wᵀ + bias + scale · drop(x) Aᵀ Bᵀ; W and bias get no gradient. `drop` comes from `draw_dropped`."""
    return _LowRank.apply(x, W, bias, A, B, scale, drop)  # type: ignore[no-untyped-call, no-any-return]


def draw_dropped(x: torch.Tensor, share: float) -> Dropped:
    """Each entry of `x` is dropped with probability `share` (to 1/16,777,216), on its own; the gain keeps the mean.

    The gaps between dropped entries are geometric, P(gap ≥ k) = (1 − share)ᵏ, so gap = ⌊log U / log(1 − share)⌋ for a uniform
    U. A few draws are enough for a whole tensor; a draw for each entry and a pass over a mask would cost a third of a training
    step on a CPU.
    """
    count = x.numel()
    draws = int(count * share + 6 * math.sqrt(count * share)) + 16  # expected number plus six standard deviations
    parts: list[torch.Tensor] = []
    last = -1
    while last < count:
        uniform = torch.rand(draws, device=x.device)
        gaps = torch.log1p(uniform.neg_()).mul_(1 / math.log1p(-share)).long()
        parts.append(gaps.add_(1).cumsum(0).add_(last))
        last = int(parts[-1][-1])
    entries = torch.cat(parts) if len(parts) > 1 else parts[0]
    entries = entries[: int(torch.searchsorted(entries, count))]
    return Dropped(entries.int() if count < 2**31 else entries.clone(), 1 / (1 - share))


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """The output of peft's LoRA layer for one active adapter; all other cases are left to peft."""
    if layer.disable_adapters or layer.merged or args or kwargs:
        return type(layer).forward(layer, x, *args, **kwargs)  # type: ignore[no-any-return]
    (name,) = layer.active_adapters
    down, up, dropout = layer.lora_A[name], layer.lora_B[name], layer.lora_dropout[name]
    base = layer.base_layer
    weight = four_bit(base) if is_four_bit(base) else base.weight
    share = dropout.p if isinstance(dropout, torch.nn.Dropout) and dropout.training else 0.0
    flat = x.reshape(-1, x.shape[-1])
    drop = draw_dropped(flat, share) if share else None
    out = low_rank(flat, weight, base.bias, down.weight, up.weight, layer.scaling[name], drop)
    return out.view(*x.shape[:-1], -1)


def _is_plain(layer: Any) -> bool:
    names = layer.active_adapters
    return (
        (type(layer.base_layer) is torch.nn.Linear or is_four_bit(layer.base_layer))
        and len(names) == 1
        and names[0] in layer.lora_A
        and names[0] not in layer.lora_variant
        and not layer.lora_bias[names[0]]
    )


def _holds_four_bit(module: Any) -> bool:
    """Whether this is peft's LoRA layer on a linear layer in 4 bits; peft has a class of its own for those."""
    return type(module).__module__ == "peft.tuners.lora.bnb" and is_four_bit(module.base_layer)


@contextmanager
def lean_adapters(model: Any) -> Iterator[int]:
    """Inside, plain LoRA layers of a peft model run fused; yields their number. DoRA and other variants keep peft's code."""
    from peft.tuners.lora.layer import Linear

    layers = [m for m in model.modules() if (isinstance(m, Linear) or _holds_four_bit(m)) and _is_plain(m)]
    for layer in layers:
        layer.forward = lambda x, *args, _layer=layer, **kwargs: _forward(_layer, x, *args, **kwargs)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward
