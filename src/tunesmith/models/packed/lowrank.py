"""LoRA layers without the passes over memory that make them slow: base product, both small products and the sum fused.

peft computes x Wᵀ, then converts, drops, multiplies, scales and adds, each in a pass of its own. Here the small products
add into the large one's result, the scale rides on the narrow middle, and the gradient is written out the same way.

Shapes: T tokens, I inputs, O outputs, r rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["keep_mask", "lean_adapters", "low_rank"]


class _LowRank(torch.autograd.Function):
    """x Wᵀ + b + scale · drop(x) Aᵀ Bᵀ. x (T, I), W (O, I) and b frozen, A (r, I), B (O, r); A and B work in x's type."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        W: torch.Tensor,
        bias: torch.Tensor | None,
        A: torch.Tensor,
        B: torch.Tensor,
        scale: float,
        drop: tuple[torch.Tensor, float] | None,
    ) -> torch.Tensor:
        a, b = A.to(x.dtype), B.to(x.dtype)
        h = (_dropped(x, drop) @ a.t()).mul_(scale)
        ctx.save_for_backward(x, W, a, b, h)
        ctx.scale, ctx.drop = scale, drop
        out = x @ W.t() if bias is None else torch.addmm(bias, x, W.t())
        return out.addmm_(h, b.t())

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, W, a, b, h = ctx.saved_tensors
        dB = (h.t() @ grad).t().float()  # this way round it is twice as fast
        dh = (grad @ b).mul_(ctx.scale)
        dA = (dh.t() @ _dropped(x, ctx.drop)).float()
        dx = None
        if ctx.needs_input_grad[0]:
            dx = grad @ W
            if ctx.drop is None:
                dx.addmm_(dh, a)
            else:
                dx.add_(_dropped(dh @ a, ctx.drop))
        return dx, None, None, dA, dB, None, None


def low_rank(
    x: torch.Tensor,
    W: torch.Tensor,
    bias: torch.Tensor | None,
    A: torch.Tensor,
    B: torch.Tensor,
    scale: float,
    drop: tuple[torch.Tensor, float] | None,
) -> torch.Tensor:
    """x Wᵀ + bias + scale · drop(x) Aᵀ Bᵀ; W and bias get no gradient. `drop` comes from `keep_mask`."""
    return _LowRank.apply(x, W, bias, A, B, scale, drop)  # type: ignore[no-untyped-call, no-any-return]


def _dropped(x: torch.Tensor, drop: tuple[torch.Tensor, float] | None) -> torch.Tensor:
    if drop is None:
        return x
    keep, gain = drop
    return (x * keep).mul_(gain)


def keep_mask(x: torch.Tensor, share: float) -> tuple[torch.Tensor, float]:
    """(bool mask of x's shape, gain): each entry is kept with probability 1 − `share`, to 1/65,536; gain keeps the mean.

    Four entries a draw of the generator: one draw an entry costs a third of a training step on a CPU.
    """
    count = x.numel()
    draws = torch.empty(-(-count // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    dropped = round(share * 65536)
    keep = draws.view(torch.int16)[:count].view(x.shape) >= dropped - 32768
    return keep, 65536 / (65536 - dropped)


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """What peft's LoRA layer computes, for one active adapter; anything else goes to peft."""
    if layer.disable_adapters or layer.merged or args or kwargs:
        return type(layer).forward(layer, x, *args, **kwargs)  # type: ignore[no-any-return]
    (name,) = layer.active_adapters
    down, up, dropout = layer.lora_A[name], layer.lora_B[name], layer.lora_dropout[name]
    base = layer.base_layer
    share = dropout.p if layer.training and isinstance(dropout, torch.nn.Dropout) else 0.0
    flat = x.reshape(-1, x.shape[-1])
    drop = keep_mask(flat, share) if share else None
    out = low_rank(flat, base.weight, base.bias, down.weight, up.weight, layer.scaling[name], drop)
    return out.view(*x.shape[:-1], -1)


def _is_plain(layer: Any) -> bool:
    names = layer.active_adapters
    return (
        type(layer.base_layer) is torch.nn.Linear
        and len(names) == 1
        and names[0] in layer.lora_A
        and names[0] not in layer.lora_variant
        and not layer.lora_bias[names[0]]
    )


@contextmanager
def lean_adapters(model: Any) -> Iterator[int]:
    """Inside, plain LoRA layers of a peft model run the lean way; gives how many. DoRA and others stay peft's."""
    from peft.tuners.lora.layer import Linear

    layers = [m for m in model.modules() if isinstance(m, Linear) and _is_plain(m)]
    for layer in layers:
        layer.forward = lambda x, *args, _layer=layer, **kwargs: _forward(_layer, x, *args, **kwargs)
    try:
        yield len(layers)
    finally:
        for layer in layers:
            del layer.forward
