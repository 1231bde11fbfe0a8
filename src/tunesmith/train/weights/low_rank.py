"""LoRA, rank-stabilised LoRA and DoRA: two narrow matrices next to each adapted one, through peft.

LoRA+ (Hayou et al. 2024, arXiv:2402.12354) trains the second matrix B, which begins at zero, at a higher rate than the first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunesmith.models import adapters
from tunesmith.models.adapters import Coverage, adapter_moves, save_adapter
from tunesmith.models.reach import choose_modules
from tunesmith.train.weights.weights import Beginning, Weights

__all__ = ["adapter_weights", "attach"]


def attach(model: Any, how: Beginning) -> Weights:
    """A fresh adapter on the layers that the settings name. ModelError if one of them cannot be adapted."""
    s = how.settings
    modules = choose_modules(model, s.targets, s.layers)
    if s.kind == "full":
        raise AssertionError("a full fine-tune has no adapter")
    adapted, coverage = adapters.attach(
        model, kind=s.kind, rank=s.rank, alpha=s.alpha, dropout=s.dropout, modules=modules, seed=how.seed
    )
    plus = "" if s.lora_plus == 1 else f", LoRA+ ratio {s.lora_plus:g}"
    weights = adapter_weights(adapted, coverage, name=f"{s.kind} rank {s.rank}{plus}", address=how.base.address)
    return replace(weights, rate_scale=lambda name: s.lora_plus if "lora_B." in name else 1.0)


def adapter_weights(adapted: Any, coverage: Coverage, *, name: str, address: str) -> Weights:
    """The adapter of a peft model as weights that move. `name`: of its kind; `address`: what programs open the base by."""
    return Weights(
        model=adapted,
        coverage=coverage,
        modules=coverage.modules,
        words=f"{name} on {len(coverage.modules)} of {coverage.num_linear} linear layers",
        save=lambda folder: save_adapter(adapted, address, folder),
        moved=lambda: adapter_moves(adapted),
    )
