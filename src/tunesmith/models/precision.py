"""Which number type this machine trains faster in, measured in a fifth of a second on a layer of the model's own shape."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from tunesmith.models.load import PrecisionName
from tunesmith.models.packed.lean_parts import gated, rms_norm
from tunesmith.models.packed.lowrank import draw_dropped, low_rank

__all__ = ["Precision", "choose_precision", "without_denormals"]

_WORTH_IT = 1.5  # below this ratio bfloat16 is not worth its rounding
_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Precision:
    """The type of the frozen weights in training, why, and the tokens/s through one adapted layer, forward and backward."""

    name: PrecisionName
    reason: str
    layer_tokens_per_s: float


@contextmanager
def without_denormals() -> Iterator[None]:
    """Inside, numbers below 1e-38 count as nothing: they take a processor many times longer, and backward passes make many.

    None of them is large enough to change a sum. It holds for this thread and for those that begin inside, torch's own among
    them, which keep it; so the first work of a process should stand inside. docs/log.md has what it gave.
    """
    before = sys.float_info.min / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def choose_precision(
    wanted: PrecisionName | None, *, width: int, inner: int, rank: int, because: str = "set in the recipe"
) -> Precision:
    """Time an adapted layer of `width` and `inner` in float32 and bfloat16; `wanted` overrides it, `because` says why."""
    with without_denormals():
        speed = {name: _TOKENS / _seconds(name, width, inner, rank) for name in ("float32", "bfloat16")}
    ratio = speed["bfloat16"] / speed["float32"]
    measured = f"a layer in bf16 measured {ratio:.1f}× as fast as in fp32 here"
    if wanted is not None:
        return Precision(wanted, f"{because} ({measured})", speed[wanted])
    name: PrecisionName = "bfloat16" if ratio >= _WORTH_IT else "float32"
    return Precision(name, measured, speed[name])


def _seconds(name: str, width: int, inner: int, rank: int) -> float:
    """Best time of several, forward and backward, of a layer as training runs it: attention and a gated MLP, frozen, with
    float32 adapters on every product."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, name)
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).mul(shape[-1] ** -0.5).to(device)

    shapes = [(width, width)] * 4 + [(inner, width), (inner, width), (width, inner)]
    layers = [(random(o, i).to(dtype), random(rank, i).requires_grad_(), random(o, rank).requires_grad_()) for o, i in shapes]
    ones = torch.ones(width, device=device, dtype=dtype)
    x = random(_TOKENS, width).to(dtype).requires_grad_()

    def linear(h: torch.Tensor, at: int) -> torch.Tensor:
        weight, down, up = layers[at]
        return low_rank(h, weight, None, down, up, 1.0, draw_dropped(h, 0.05))

    def once() -> float:
        start = time.perf_counter()
        h = rms_norm(x, ones, 1e-5)
        q, k, v = (linear(h, at).view(8, _TOKENS // 8, 1, width).transpose(1, 2) for at in range(3))
        h = x + linear(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(_TOKENS, width), 3)
        g = rms_norm(h, ones, 1e-5)
        (h + linear(gated(linear(g, 4), linear(g, 5)), 6)).sum().backward()  # type: ignore[no-untyped-call]
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    once()
    best, end = float("inf"), time.perf_counter() + 0.1
    while time.perf_counter() < end:
        best = min(best, once())
    return best
