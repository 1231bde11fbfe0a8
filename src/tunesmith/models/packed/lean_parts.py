"""RMS norms and gated MLPs that save less for the backward pass: the same numbers forward, a hand-written gradient.

transformers' norm saves a float32 copy of its input and makes eight passes over it; here only the input itself is saved.
A gated MLP saves silu(gate) in addition to gate and up; here it is computed again. Modules are recognised by trial: one that
gives other bits on random input keeps its own code.

Shapes: T tokens, D width, I inner width. The derivations, with G = ∂L/∂y:

    RMS norm   g = (mean_D(x²) + ε)^(−1/2) (…, 1)     y = w ∘ (x g) (…, D)     u = w ∘ G     ∂L/∂w = Σ_T G ∘ (x g)
               ∂g/∂xᵢ = −g³ xᵢ / D, hence  ∂L/∂x = g u − (Σⱼ uⱼ xⱼ) g³ x / D = g (u − x (u · x) g² / D)
    gated MLP  y = silu(a) ∘ b, both (…, I):  ∂L/∂a = (G ∘ b) silu'(a),  ∂L/∂b = G ∘ silu(a)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F

__all__ = ["gated", "lean_parts", "rms_norm"]


class _RmsNorm(torch.autograd.Function):
    """weight · x / sqrt(mean(x²) + eps), the mean over D in float32 and the product in x's type. x (…, D), weight (D)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        wide = x.float()
        gain = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, gain)
        return weight * (wide * gain).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, weight, gain = ctx.saved_tensors
        wide, through = x.float(), (grad * weight).float()
        along = torch.linalg.vecdot(through, wide).unsqueeze(-1) * gain.square() / x.shape[-1]  # (u · x) g² / D, (…, 1)
        dw = (grad * (wide * gain).to(x.dtype)).flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        return through.sub_(wide * along).mul_(gain).to(x.dtype), dw, None


class _Gated(torch.autograd.Function):
    """silu(gate) · up, both (…, I); silu(gate) is not saved."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate) * up

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gate, up = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad * up, gate), F.silu(gate).mul_(grad)


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """The norm of a Llama over the last dimension."""
    return _RmsNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call, no-any-return]


def gated(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """silu(gate) · up"""
    return _Gated.apply(gate, up)  # type: ignore[no-untyped-call, no-any-return]


def _norm(module: Any) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The memory-saving form of a module that may be an RMS norm."""
    weight = getattr(module, "weight", None)
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not isinstance(weight, torch.nn.Parameter) or weight.ndim != 1 or not isinstance(eps, float):
        return None
    if isinstance(module, torch.nn.LayerNorm):
        return None
    return lambda x: rms_norm(x, module.weight, eps)  # which is another tensor once the model is divided


def _gated(module: Any) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The memory-saving form of a module that may be a gated MLP: gate and up separate, or in one product."""
    down = getattr(module, "down_proj", None)
    if not callable(down):
        return None
    gate, up, both = (getattr(module, name, None) for name in ("gate_proj", "up_proj", "gate_up_proj"))
    if callable(gate) and callable(up):
        return lambda x: down(gated(gate(x), up(x)))
    if callable(both):
        return lambda x: down(gated(*both(x).chunk(2, -1)))
    return None


@torch.no_grad()
def _same(module: Any, lean: Callable[[torch.Tensor], torch.Tensor], width: int, like: torch.Tensor) -> bool:
    """Whether both give the same bits in training, with the same dropout masks, on small and on large input.

    Large input, because a clamped gate differs from a plain one only there.
    """
    training = {inner: inner.training for inner in module.modules()}
    module.train()
    try:
        with torch.random.fork_rng([like.device] if like.is_cuda else []):
            torch.manual_seed(0)
            x = torch.randn(1, 3, width, device=like.device).to(like.dtype)
            return all(_alike(module, lean, x * size) for size in (1, 100))
    finally:
        for inner, mode in training.items():
            inner.training = mode


def _alike(module: Any, lean: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> bool:
    found = []
    for variant in (module, lean):
        torch.manual_seed(1)
        try:
            found.append(variant(x))
        except (RuntimeError, TypeError, ValueError):  # the module takes other input, so it is not of this kind
            return False
    return isinstance(found[0], torch.Tensor) and torch.equal(*found)


def _for_one_input(module: Any, lean: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
    """The memory-saving form for calls with one tensor, as tested. Calls with more arguments use the module's own code."""
    plain = module.forward

    def forward(*given: Any, **named: Any) -> Any:
        return lean(given[0]) if len(given) == 1 and not named else plain(*given, **named)

    return forward


@contextmanager
def lean_parts(model: Any) -> Iterator[int]:
    """Inside, norms and gated MLPs of `model` run in their memory-saving form if its bits are equal; yields their number."""
    width = model.config.get_text_config().hidden_size
    like = model.get_input_embeddings().weight
    changed = []
    for module in model.modules():
        if "forward" in vars(module):  # its forward is already replaced
            continue
        if (lean := _norm(module)) is not None:
            size = len(module.weight)
        elif (lean := _gated(module)) is not None:
            size = width
        else:
            continue
        if _same(module, lean, size, like):
            changed.append((module, lean))
    for module, lean in changed:
        module.forward = _for_one_input(module, lean)
    try:
        yield len(changed)
    finally:
        for module, _ in changed:
            del module.forward
