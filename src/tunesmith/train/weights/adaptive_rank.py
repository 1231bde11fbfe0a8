"""AdaLoRA (Zhang et al. 2023, arXiv:2303.10512): an adapter that gives its ranks to the layers where they matter.

Each update is B diag(e) A. It begins with half as many ranks again as `method.rank`; by peft's own allocator, those that matter
least (a running mean of |weight · gradient| times its uncertainty) are then set to zero, until every layer has `method.rank` of
them on average. A and B are held near orthogonal by a term in the loss, so that e says how much a rank does. The layers are
plain LoRA whose A is computed as diag(e) A. What is saved is a plain adapter of the ranks that survived.

Shapes: r ranks of a layer, I inputs, O outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch.nn.utils.parametrize import register_parametrization

from tunesmith.models import adapters
from tunesmith.models.adapters import save_adapter
from tunesmith.models.reach import adaptive_rank, choose_modules
from tunesmith.train.weights.low_rank import adapter_weights
from tunesmith.train.weights.weights import Beginning, Weights, moved_from

__all__ = ["attach"]

_WARM_UP, _LAST = 0.1, 0.3  # shares of the steps before ranks are taken away, and after the last was
_ORTHOGONAL = 0.5  # weight of the term that holds A and B near orthogonal, as in peft
_STD = 0.02  # of A and B at the start, as in peft


def attach(model: Any, how: Beginning) -> Weights:
    """A fresh adapter with ranks to give away. A run too short for that was refused before (`combinations`)."""
    s = how.settings
    modules = choose_modules(model, s.targets, s.layers)
    rank = adaptive_rank(s.rank)
    adapted, coverage = adapters.attach(
        model, kind="lora", rank=rank, alpha=s.alpha, dropout=s.dropout, modules=modules, seed=how.seed
    )
    ranks = _ranked(adapted)
    allocation = _Allocation(ranks, rank=rank, target=s.rank, num_steps=how.num_steps)
    weights = adapter_weights(adapted, coverage, name=f"adalora rank {s.rank} on average", address=how.base.address)
    return replace(
        weights,
        coverage=replace(coverage, num_trainable=coverage.num_trainable + rank * len(ranks)),
        save=partial(save_adapter, adapted, how.base.address, form=partial(_survivors, ranks)),
        moved=moved_from(adapted, {name for name, _ in adapted.named_parameters() if name.endswith(".values")}),
        after_step=allocation.after_step,
        penalty=partial(_not_orthogonal, ranks),
        state=allocation.state,
    )


class _Scaled(torch.nn.Module):
    """diag(e) A for the matrix A (r, I), with e (r, 1) trained from zero on."""

    def __init__(self, rank: int, device: torch.device) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.zeros(rank, 1, device=device))

    def forward(self, A: torch.Tensor) -> torch.Tensor:
        """Each row times its value."""
        return A * self.values


@dataclass(frozen=True, slots=True)
class _Ranked:
    """A layer with A (r, I), e (r, 1) and B (O, r)."""

    layer: Any
    A: torch.nn.Parameter
    values: torch.nn.Parameter
    B: torch.nn.Parameter


def _ranked(adapted: Any) -> dict[str, _Ranked]:
    """The layers of a fresh plain adapter by name, each with its values between A and B."""
    from peft.tuners.lora.layer import LoraLayer

    found = {}
    for name, layer in adapted.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        down, up = layer.lora_A["default"], layer.lora_B["default"]
        for module in (down, up):
            torch.nn.init.normal_(module.weight, std=_STD)
        scaled = _Scaled(down.weight.shape[0], down.weight.device)
        register_parametrization(down, "weight", scaled)
        found[name] = _Ranked(layer, down.parametrizations.weight.original, scaled.values, up.weight)
    return found


def _not_orthogonal(ranks: Mapping[str, _Ranked]) -> torch.Tensor:
    """0.5 times the mean over all A and B of ‖A Aᵀ - 1‖ and ‖Bᵀ B - 1‖ (Frobenius), with gradient."""
    grams = [gram for one in ranks.values() for gram in (one.A @ one.A.t(), one.B.t() @ one.B)]
    return _ORTHOGONAL * torch.stack([(g - torch.eye(len(g), device=g.device)).norm() for g in grams]).mean()


class _Allocation:
    """Which ranks are left, by peft's allocator, which sees the tensors under the names that it looks for."""

    def __init__(self, ranks: Mapping[str, _Ranked], *, rank: int, target: int, num_steps: int) -> None:
        from peft import AdaLoraConfig
        from peft.tuners.adalora.layer import RankAllocator

        self._ranks = ranks
        last = int(_LAST * num_steps)
        config = AdaLoraConfig(
            init_r=rank,
            target_r=target,
            tinit=int(_WARM_UP * num_steps),
            tfinal=last,
            deltaT=max(1, num_steps // 100),
            total_step=num_steps,
        )
        self._allocator = RankAllocator(self, config, "default")
        self._final = num_steps - last
        self._kept = {name: torch.ones_like(one.values) for name, one in ranks.items()}
        for name, tensor in self.named_parameters():
            for sums in (self._allocator.ipt, self._allocator.exp_avg_ipt, self._allocator.exp_avg_unc):
                sums[name] = torch.zeros_like(tensor, requires_grad=False)

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """As peft's own layers name them."""
        for name, one in self._ranks.items():
            yield f"{name}.lora_A.default", one.A
            yield f"{name}.lora_E.default", one.values
            yield f"{name}.lora_B.default", one.B

    def after_step(self, step: int) -> None:
        """Judge all ranks by this step, and take away those that are too many by now; after the last, keep them away."""
        if step <= self._final:
            _, kept = self._allocator.update_and_allocate(self, step, force_mask=step == self._final)
            for name, one in (kept or {}).items():
                mask = self._kept[name.removesuffix(".lora_E.default")]
                mask.copy_(torch.tensor(one, dtype=mask.dtype)[:, None])
            return
        with torch.no_grad():
            for name, ranked in self._ranks.items():
                ranked.values.mul_(self._kept[name])

    def state(self) -> dict[str, torch.Tensor]:
        """What resuming needs, by name; the tensors themselves."""
        a = self._allocator
        made = {f"{name}.importance": tensor for name, tensor in a.exp_avg_ipt.items()}
        made |= {f"{name}.uncertainty": tensor for name, tensor in a.exp_avg_unc.items()}
        return made | {f"{name}.kept": tensor for name, tensor in self._kept.items()}


def _survivors(ranks: Mapping[str, _Ranked], adapted: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """The adapter as plain LoRA: its configuration and tensors. A layer without a rank left has one that is zero."""
    config = deepcopy(adapted.peft_config["default"])
    state = {name: tensor for name, tensor in adapted.state_dict().items() if ".parametrizations." not in name}
    sizes = {}
    for name, one in ranks.items():
        left = one.values.detach().flatten().nonzero().flatten()
        left = left if len(left) else torch.zeros(1, dtype=torch.long, device=one.values.device)
        state[f"{name}.lora_A.default.weight"] = (one.A * one.values).detach()[left]
        state[f"{name}.lora_B.default.weight"] = one.B.detach()[:, left] * float(one.values.detach().any())
        sizes[name.removeprefix("base_model.model.")] = len(left)
    scale = config.lora_alpha / config.r
    config.r = Counter(sizes.values()).most_common(1)[0][0]
    config.lora_alpha = scale * config.r
    config.rank_pattern = {name: size for name, size in sizes.items() if size != config.r}
    config.alpha_pattern = {name: scale * size for name, size in config.rank_pattern.items()}
    return config, state
