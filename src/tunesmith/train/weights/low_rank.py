"""LoRA, rank-stabilised LoRA and DoRA: two narrow matrices next to each adapted one, through peft.

LoRA+ (Hayou et al. 2024, arXiv:2402.12354) trains the second matrix B, which begins at zero, at a higher rate than the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tunesmith.models import adapters
from tunesmith.models.adapter_start import begin_at
from tunesmith.models.adapters import Coverage, Patterns, adapter_moves, save_adapter
from tunesmith.models.continuing import check_start, continue_from, origin_of_start
from tunesmith.models.kept_modules import keep_with, kept_parameters, save_modules
from tunesmith.models.reach import choose_modules, without_kept
from tunesmith.train.proportional import proportional
from tunesmith.train.settings import AdapterSettings
from tunesmith.train.weights.weights import Beginning, Change, Weights, moved_from

__all__ = ["adapter_weights", "attach", "low_rank_changes"]


def attach(model: Any, how: Beginning) -> Weights:
    """A fresh adapter on the layers that the settings name. ModelError if one of them cannot be adapted."""
    s = how.settings
    modules = choose_modules(model, s.targets, s.layers)
    if s.kind == "full" or s.kind == "adalora":
        raise AssertionError("another file has this kind")
    kept = kept_parameters(model, s.modules)
    patterns = Patterns(s.rank_pattern, s.alpha_pattern)
    if s.continued:
        check_start(Path(s.continued), how.base, kind=s.kind, rank=s.rank, alpha=s.alpha, modules=modules, patterns=patterns)
    adapted, coverage = adapters.attach(
        model,
        kind=s.kind,
        rank=s.rank,
        alpha=s.alpha,
        dropout=s.dropout,
        modules=modules,
        seed=how.seed,
        patterns=patterns,
    )
    if s.continued:
        continue_from(adapted, Path(s.continued))
    begin_at(adapted, s.init, how.rows)
    if kept:
        coverage = _keep(adapted, coverage, kept)
    weights = adapter_weights(adapted, coverage, name=_name(s), address=how.base.address)
    if kept:
        weights = replace(weights, save=partial(_save_with, adapted, how.base.address, kept))
    if s.init != "default" or s.continued or kept:
        weights = replace(weights, moved=moved_from(adapted, {n for n, p in adapted.named_parameters() if p.requires_grad}))
    changes = partial(low_rank_changes, adapted) if s.kind != "dora" and s.init == "default" and not kept else None
    if proportional(s):
        weights = replace(weights, update=lambda: {n: p for n, p in adapted.named_parameters() if "lora_B." in n})
    return replace(weights, changes=changes, rate_scale=lambda name: s.lora_plus if "lora_B." in name else 1.0)


def _name(s: AdapterSettings) -> str:
    """What is trained, and how it begins."""
    parts = [f"{s.kind} rank {s.rank}"]
    if ranks := s.rank_pattern.values():
        parts[0] += f" (others by pattern: {min(ranks)} to {max(ranks)})"
    parts += [] if s.init == "default" else [f"begun by {s.init}"]
    parts += [f"continued from {origin_of_start(Path(s.continued))}"] if s.continued else []
    parts += [f"with {' and '.join(s.modules)}"] if s.modules else []
    return ", ".join([*parts, *([] if s.lora_plus == 1 else [f"LoRA+ ratio {s.lora_plus:g}"])])


def _keep(adapted: Any, coverage: Coverage, kept: Mapping[str, torch.nn.Parameter]) -> Coverage:
    """Let parameters of the base move with the adapter; what is covered then."""
    keep_with(adapted, kept)
    along = sum(parameter.numel() for parameter in kept.values())
    left = without_kept(coverage.out_of_reach, along)
    return replace(coverage, num_trainable=coverage.num_trainable + along, out_of_reach=left)


def _save_with(adapted: Any, address: str, kept: Mapping[str, torch.nn.Parameter], folder: Path) -> None:
    save_adapter(adapted, address, folder)
    save_modules(folder, adapted.get_base_model(), kept)


def low_rank_changes(adapted: Any) -> dict[str, Change]:
    """How far each adapted matrix has moved: ‖√output · s B A · √input‖² as the product of two Gram matrices of the rank."""
    from peft.tuners.lora import LoraLayer

    def change_of(layer: Any) -> Change:
        def change(output_I: torch.Tensor, input_J: torch.Tensor) -> torch.Tensor:
            (name,) = layer.active_adapters
            A, B = layer.lora_A[name].weight.float(), layer.lora_B[name].weight.float()  # (r, J), (I, r)
            gram_A, gram_B = (A * input_J) @ A.t(), B.t() @ (B * output_I[:, None])
            moved: torch.Tensor = (gram_A * gram_B).sum() * layer.scaling[name] ** 2
            return moved

        return change

    return {name: change_of(module) for name, module in adapted.named_modules() if isinstance(module, LoraLayer)}


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
