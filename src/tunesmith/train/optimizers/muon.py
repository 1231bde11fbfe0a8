"""Muon for the matrices inside the model, AdamW for the rest: embeddings, output matrix, norms, biases. Both are torch's own.

The momentum of a matrix is made orthogonal (Jordan et al. 2024, kellerjordan.github.io/posts/muon). Its step is scaled to the
size of AdamW's (Liu et al. 2025, arXiv:2502.16982), so that `train.learning_rate` means the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from tunesmith.core.errors import TrainingError
from tunesmith.core.settings import Section
from tunesmith.train.optimizer import Beta, Group, Optimizer, Rates

__all__ = ["Settings", "make"]


class Settings(Section):
    """The knobs of Muon, and of AdamW for what is no inner matrix."""

    momentum: Beta = 0.95
    """Share of the old mean of gradients that a step of Muon keeps."""
    nesterov: bool = True
    """Look ahead by one step of the momentum."""
    newton_steps: Annotated[int, Field(ge=1, lt=100)] = 5
    """Newton-Schulz iterations that make the momentum orthogonal."""
    scale: Literal["match_rms_adamw", "original"] = "match_rms_adamw"
    """`match_rms_adamw`: steps of the size of AdamW's. `original`: steps by the shape of the matrix alone, which need a rate of
    their own."""
    beta1: Beta = 0.9
    """AdamW's share of the old mean of gradients."""
    beta2: Beta = 0.999
    """AdamW's share of the old mean of squared gradients."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of AdamW's mean of squared gradients."""


def make(groups: Sequence[Group], settings: Settings, *, model: Any, rates: Rates) -> Optimizer:
    """One moment for each number of a matrix, two for the rest. TrainingError if there is no matrix."""
    outside = _embeddings(model)
    inner = _only(groups, lambda p: p.ndim == 2 and p not in outside)
    rest = _only(groups, lambda p: p.ndim != 2 or p in outside)
    if not inner:
        raise TrainingError(
            "train.optimizer muon has nothing to do",
            value="no matrix inside the model is trained",
            expected="an adapter or layers with matrices",
            hint="--set train.optimizer=adamw",
        )
    muon = torch.optim.Muon(
        inner,
        lr=rates.learning_rate,
        weight_decay=rates.weight_decay,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        ns_steps=settings.newton_steps,
        adjust_lr_fn=settings.scale,
    )
    if not rest:
        return Optimizer((muon,))
    betas, decay = (settings.beta1, settings.beta2), rates.weight_decay
    adamw = torch.optim.AdamW(rest, lr=rates.learning_rate, betas=betas, eps=settings.epsilon, weight_decay=decay)
    return Optimizer((muon, adamw))


def _only(groups: Sequence[Group], wanted: Any) -> list[Group]:
    """The groups with the tensors that are `wanted`, without those that keep none."""
    kept = [{**group, "params": [p for p in group["params"] if wanted(p)]} for group in groups]
    return [group for group in kept if group["params"]]


def _embeddings(model: Any) -> set[torch.Tensor]:
    """The tensors of embeddings and of the output layer, in whatever wrapper they are."""
    tables = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    return {tensor for module in (*tables, model.get_output_embeddings()) for tensor in module.parameters()}
