"""Which number type this machine trains faster in, measured in under a second on a layer of the model's own shape.

Other programs must not decide: several short takes, both types in turn, the best of each, counted in processor time on a CPU.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from tunesmith.models.load import PrecisionName
from tunesmith.models.packed.lean_parts import gated, rms_norm
from tunesmith.models.packed.lowrank import draw_dropped, low_rank

__all__ = ["LayerSpeed", "Precision", "best_of_turns", "choose_precision", "layer_speed", "without_denormals"]

_WORTH_IT = 1.5  # below this ratio bfloat16 is not worth its rounding
_TOKENS = 512  # short enough that some takes are not interrupted, long enough to fill the matrix products
_TAKES, _MOST_TAKES = 4, 20
_HOPELESS, _LONG_S = 4.0, 0.5  # a processor without 16-bit products takes seconds for one take
_WIDTHS = (256, 512, 1024)  # of the layer timed in place of a larger one; wider ones gain little and take minutes on a CPU
_TWO_S = 2.0  # for all takes of one width; twice the width takes four times as long
_SECONDS = 0.3  # of each type's takes, once there are `_TAKES`: the slower type need not be known as well as the faster


@dataclass(frozen=True, slots=True)
class Precision:
    """The type of the frozen weights in training, why, and the tokens/s through one adapted layer, forward and backward, in
    that type and in float32, which evaluation uses."""

    name: PrecisionName
    reason: str
    layer_tokens_per_s: float
    float32_tokens_per_s: float


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
        takes = {name: _layer(name, width, inner, rank) for name in ("float32", "bfloat16")}
        speed = {name: _TOKENS / seconds for name, seconds in best_of_turns(takes).items()}
    ratio = speed["bfloat16"] / speed["float32"]
    measured = f"a layer in bf16 measured {ratio:.1f}× as fast as in fp32 here"
    if wanted is not None:
        return Precision(wanted, f"{because} ({measured})", speed[wanted], speed["float32"])
    name: PrecisionName = "bfloat16" if ratio >= _WORTH_IT else "float32"
    return Precision(name, measured, speed[name], speed["float32"])


@dataclass(frozen=True, slots=True)
class LayerSpeed:
    """Tokens/s through an adapted layer with so many parameters, forward and backward."""

    tokens_per_s: float
    num_parameters: int


def layer_speed(name: PrecisionName, *, width: int, inner: int, rank: int) -> LayerSpeed:
    """Time one number type in about two seconds, on the widest layer of these proportions that allows it."""
    found: LayerSpeed | None = None
    with without_denormals():
        for narrow in sorted({min(width, one) for one in _WIDTHS}):
            wide = max(1, round(narrow * inner / width))
            numbers = 4 * narrow * narrow + 3 * narrow * wide
            take = _layer(name, narrow, wide, min(rank, narrow))
            if found is not None and _TAKES * numbers / found.num_parameters * _TOKENS / found.tokens_per_s > _TWO_S:
                break
            first = _timed(take)
            seconds = first if _TAKES * first > _TWO_S else best_of_turns({name: take})[name]
            found = LayerSpeed(_TOKENS / seconds, numbers)
    if found is None:
        raise AssertionError("a layer has a width")
    return found


def best_of_turns(takes: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of the best take of each, after a first one that does not count, all in turn so that a busy moment meets all.

    What is `_HOPELESS` times as slow as the fastest at once is not taken again: its first take counts.
    """
    first = {name: _timed(take) for name, take in takes.items()}
    slow = {name: s for name, s in first.items() if s > _LONG_S and s > _HOPELESS * min(first.values())}
    seconds: dict[str, list[float]] = {name: [] for name in takes if name not in slow}
    for done in range(_MOST_TAKES):
        for name, of in seconds.items():
            if done < _TAKES or sum(of) < _SECONDS:
                of.append(_timed(takes[name]))
    return slow | {name: min(of) for name, of in seconds.items()}


def _timed(take: Callable[[], object]) -> float:
    """Seconds of one take: on a CPU, processor time over torch's threads, which others' work does not lengthen."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        start = time.perf_counter()
        take()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    take()
    return (time.process_time() - start) / torch.get_num_threads()


def _layer(name: str, width: int, inner: int, rank: int) -> Callable[[], None]:
    """One layer forward and backward as training runs it: attention and a gated MLP, frozen, with float32 adapters on every
    product."""
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

    def once() -> None:
        h = rms_norm(x, ones, 1e-5)
        q, k, v = (linear(h, at).view(8, _TOKENS // 8, 1, width).transpose(1, 2) for at in range(3))
        h = x + linear(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(_TOKENS, width), 3)
        g = rms_norm(h, ones, 1e-5)
        (h + linear(gated(linear(g, 4), linear(g, 5)), 6)).sum().backward()  # type: ignore[no-untyped-call]

    return once
