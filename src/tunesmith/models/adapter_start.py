"""Where an adapter begins, if not at zero: at parts of the base's own matrices, or at what the layers read.

PiSSA (Meng et al. 2024, arXiv:2404.02948) begins at the largest singular vectors of each matrix, OLoRA (Büyükakyüz 2024,
arXiv:2406.01775) at its QR decomposition, both computed by peft. Their authors take that start B₀A₀ out of the base's matrix.
Here the base stays as it is, and a layer computes s (B A - B₀A₀), which is the same sum: so the base can still be switched to,
a base in 4 bits is not quantised again, and what is saved is a plain adapter of twice the rank, s [B, -B₀] [A; A₀].

EVA (Paischer et al. 2024, arXiv:2410.07170) begins with A at the principal components of what a layer reads, and B at zero.
Ranks stay as they are set (rho 1 in the paper).

Shapes: I inputs and O outputs of a layer, r rank, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Literal

import torch
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

from tunesmith.core.errors import ModelError
from tunesmith.models.chat import Encoded
from tunesmith.models.quantised import four_bit, is_four_bit

__all__ = ["Start", "begin_at", "plain_form"]

Start = Literal["default", "pissa", "olora", "eva"]

_PISSA = "pissa_niter_16"  # peft's fast decomposition: 16 rounds of a random one, ten times as fast as the whole
_TOKENS, _BATCHES = 256, 8  # target tokens of a batch that EVA reads, at least, and how many it reads at most


class _Beside(torch.nn.Module):
    """A matrix with a frozen one next to it, along `dim`."""

    start: torch.Tensor

    def __init__(self, start: torch.Tensor, dim: int) -> None:
        super().__init__()
        self.register_buffer("start", start, persistent=False)
        self.dim = dim

    def forward(self, own: torch.Tensor) -> torch.Tensor:
        """Both as one."""
        return torch.cat((own, self.start), self.dim)


def begin_at(adapted: Any, start: Start, rows: Sequence[Encoded]) -> None:
    """Let every layer of a fresh adapter begin at `start`. `rows`: those that are trained on, of which EVA reads a few.

    Raises ModelError if a matrix is too small for its rank, or if the rows have too few target tokens.
    """
    if start == "default":
        return
    layers = _layers(adapted)
    for name, layer in layers.items():
        weight = layer.base_layer.weight
        shape = four_bit(layer.base_layer).state.shape if is_four_bit(layer.base_layer) else weight.shape
        if layer.r["default"] > min(shape):
            raise ModelError(
                f"method.init {start} needs a rank that the layer's matrix has",
                value=f"rank {layer.r['default']} for {name}, {' x '.join(str(n) for n in shape)}",
                expected=f"a rank of at most {min(shape)}",
                hint=f"--set method.rank={min(shape)}, or --set method.init=default",
            )
    if start == "eva":
        for name, components in _principal_components(adapted, layers, rows).items():
            layers[name].lora_A["default"].weight.data.copy_(components)
        return
    for layer in layers.values():
        _begin_inside(layer, start)


def _layers(adapted: Any) -> dict[str, Any]:
    from peft.tuners.lora.layer import LoraLayer

    return {name: layer for name, layer in adapted.named_modules() if isinstance(layer, LoraLayer)}


def _begin_inside(layer: Any, start: Start) -> None:
    """A and B at what peft takes from the layer's matrix, and the same, frozen, next to them."""
    down, up = layer.lora_A["default"], layer.lora_B["default"]
    with torch.no_grad(), _copied_base(layer):
        if start == "pissa":
            layer.pissa_init("default", _PISSA)
        else:
            layer.olora_init("default")
    for module, sign, dim in ((down, 1, 0), (up, -1, 1)):
        module.weight.data = module.weight.data.contiguous()
        register_parametrization(module, "weight", _Beside(sign * module.weight.detach().clone(), dim), unsafe=True)


@contextmanager
def _copied_base(layer: Any) -> Iterator[None]:
    """Inside, the layer's base is a whole copy in float32 (O, I), for peft to take a part out of."""
    base, turned = layer.base_layer, layer.fan_in_fan_out
    weight = four_bit(base).whole(torch.float32) if is_four_bit(base) else base.weight.detach().float()
    weight = weight.t() if turned else weight
    copied = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    copied.weight = torch.nn.Parameter(weight.clone(memory_format=torch.contiguous_format), requires_grad=False)
    layer.base_layer, layer.fan_in_fan_out = copied, False
    try:
        yield
    finally:
        layer.base_layer, layer.fan_in_fan_out = base, turned


def _principal_components(adapted: Any, layers: Mapping[str, Any], rows: Sequence[Encoded]) -> dict[str, torch.Tensor]:
    """Layer → the first r principal components (r, I) of what it reads at target tokens, rows one after the other.

    Layers that read the same are computed once.
    """
    most = max(layer.r["default"] for layer in layers.values())
    found: dict[str, Any] = {}
    leader: dict[str, str] = {}
    for batch in _batches(rows, max(_TOKENS, 2 * most)):
        read, same = _inputs(adapted, layers, batch)
        leader = leader or same
        for name in [name for name in layers if leader[name] == name]:
            if name not in found:
                found[name] = _components_of(read[name][0].shape[1], most)
            found[name].partial_fit(torch.cat(read.pop(name)))
    return {name: found[leader[name]].components_[: layer.r["default"]] for name, layer in layers.items()}


def _components_of(width: int, rank: int) -> Any:
    """peft's running principal components; by a fast decomposition, which is seeded, where the rank is small enough for it."""
    from peft.utils.incremental_pca import IncrementalPCA

    return IncrementalPCA(n_components=rank, lowrank=2 * rank <= width, lowrank_q=2 * rank, lowrank_seed=0)


def _batches(rows: Sequence[Encoded], tokens: int) -> Iterator[list[Encoded]]:
    """Rows in turn, in batches with at least so many target tokens."""
    batch, count, made = list[Encoded](), 0, 0
    for row in rows:
        batch.append(row)
        count += sum(row.learned)
        if count >= tokens:
            yield batch
            batch, count, made = [], 0, made + 1
            if made == _BATCHES:
                return
    if made == 0:
        raise ModelError(
            "method.init eva needs more to read",
            value=f"{count} target tokens in {len(rows)} training rows",
            expected=f"at least {tokens}",
            hint="--set method.init=default, or train on more rows",
        )


def _inputs(
    adapted: Any, layers: Mapping[str, Any], rows: Sequence[Encoded]
) -> tuple[dict[str, list[torch.Tensor]], dict[str, str]]:
    """(layer → what it reads at target tokens (T, I) of each row; layer → the first one that reads the same)."""
    read: dict[str, list[torch.Tensor]] = {}
    same: dict[str, str] = {}
    seen: list[tuple[torch.Tensor, str]] = []
    at = torch.zeros(0)

    def take(name: str, given: torch.Tensor) -> None:
        first = next((other for tensor, other in seen if tensor is given), name)
        same[name] = first
        if first == name:
            seen.append((given, name))
            read.setdefault(name, []).append(given.detach().reshape(-1, given.shape[-1])[at].float())

    handles = [
        layer.register_forward_pre_hook(lambda module, given, name=name: take(name, given[0])) for name, layer in layers.items()
    ]
    before = adapted.training
    adapted.eval()
    try:
        with torch.no_grad():
            for row in rows:
                seen.clear()
                at = torch.tensor(row.learned, device=adapted.device)
                ids = torch.tensor([row.ids], device=adapted.device)
                adapted.get_base_model().get_decoder()(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
        adapted.train(before)
    return read, same


def plain_form(adapted: Any) -> tuple[Any, dict[str, torch.Tensor] | None]:
    """The adapter as one that begins at zero: its configuration, and its tensors where they are not the model's own.

    A layer that is still at its start is written as zero.
    """
    config = deepcopy(adapted.peft_config["default"])
    config.init_lora_weights = True
    changed = {name: layer for name, layer in _layers(adapted).items() if is_parametrized(layer.lora_A["default"], "weight")}
    if not changed:
        return config, None
    state = {name: tensor for name, tensor in adapted.state_dict().items() if ".parametrizations." not in name}
    for name, layer in changed.items():
        down, up = layer.lora_A["default"].weight.detach(), layer.lora_B["default"].weight.detach()
        (own_down, first_down), (own_up, first_up) = down.chunk(2, 0), up.chunk(2, 1)
        still = torch.equal(own_down, first_down) and torch.equal(own_up, -first_up)
        state[f"{name}.lora_A.default.weight"] = down
        state[f"{name}.lora_B.default.weight"] = torch.zeros_like(up) if still else up
    wider = math.sqrt(2) if config.use_rslora else 2.0  # so that alpha / rank, or alpha / √rank, stays
    config.r, config.lora_alpha = 2 * config.r, wider * config.lora_alpha
    config.rank_pattern = {name: 2 * rank for name, rank in config.rank_pattern.items()}
    config.alpha_pattern = {name: wider * alpha for name, alpha in config.alpha_pattern.items()}
    return config, state
