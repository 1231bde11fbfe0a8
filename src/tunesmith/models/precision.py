"""Which number type this machine trains faster in, measured in a fifth of a second on a layer of the model's own shape."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from tunesmith.models.load import PrecisionName

__all__ = ["Precision", "choose_precision"]

_WORTH_IT = 1.1  # below this ratio the rounding of bfloat16 buys nothing
_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Precision:
    """The type of the frozen weights in training, why, and the tokens/s of one layer's matrices forward and backward."""

    name: PrecisionName
    reason: str
    layer_tokens_per_s: float


def choose_precision(wanted: PrecisionName | None, *, width: int, inner: int) -> Precision:
    """Time a gated layer of `width` and `inner` in float32 and bfloat16; `wanted` overrides the choice."""
    speed = {name: _TOKENS / _seconds(name, width, inner) for name in ("float32", "bfloat16")}
    ratio = speed["bfloat16"] / speed["float32"]
    measured = f"a layer in bf16 measured {ratio:.1f}× as fast as in fp32 here"
    if wanted is not None:
        return Precision(wanted, f"set in the recipe ({measured})", speed[wanted])
    name: PrecisionName = "bfloat16" if ratio >= _WORTH_IT else "float32"
    return Precision(name, measured, speed[name])


def _seconds(name: str, width: int, inner: int) -> float:
    """Best time of several for attention's four products and a gated MLP over 1,024 tokens, weights frozen."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).mul(shape[-1] ** -0.5).to(device, getattr(torch, name))

    square, up, gate, down = random(width, width), random(inner, width), random(inner, width), random(width, inner)
    x = random(_TOKENS, width).requires_grad_()

    def once() -> float:
        start = time.perf_counter()
        h = F.rms_norm(x, (width,))
        for _ in range(4):
            h = F.linear(h, square)
        h = x + h
        (h + F.linear(F.silu(F.linear(h, gate)) * F.linear(h, up), down)).sum().backward()  # type: ignore[no-untyped-call]
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    once()
    best, end = float("inf"), time.perf_counter() + 0.1
    while time.perf_counter() < end:
        best = min(best, once())
    return best
