"""Adapters before they are made: parameters by rank, the bytes of the file, and the largest rank within a size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.core.errors import ModelError
from tunesmith.plan.weights import Anatomy, Weight

__all__ = ["GROUPS", "MB", "AdapterSize", "adapter_size", "adapter_targets", "largest_rank"]

MB = 1_000_000
GROUPS = ("all", "attention", "mlp")
_FUSED = {
    "q_proj": "qkv_proj",
    "k_proj": "qkv_proj",
    "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj",
    "up_proj": "gate_up_proj",
}
_PEFT = "base_model.model."  # how peft names the model that it wraps, in the tensors of its files


@dataclass(frozen=True, slots=True)
class AdapterSize:
    """An adapter of one rank: its new parameters, and the bytes of `adapter_model.safetensors` in float32 and bfloat16."""

    rank: int
    num_parameters: int
    file_float32: int
    file_bfloat16: int


def adapter_targets(anatomy: Anatomy, targets: Sequence[str]) -> tuple[Weight, ...]:
    """The linear layers that `targets` name: a group (all, attention, mlp) or ends of module names, such as q_proj.

    Raises:
        ModelError: a target matches nothing in this model.
    """
    linear = [weight for weight in anatomy.weights if weight.is_linear]
    chosen: dict[str, Weight] = {}
    for target in targets:
        found = [w for w in linear if _means(target, w)]
        if not found:
            raise _no_such_target(target, linear)
        chosen.update({weight.name: weight for weight in found})
    return tuple(weight for weight in linear if weight.name in chosen)


def _means(target: str, weight: Weight) -> bool:
    if target in GROUPS:
        return target in ("all", weight.kind)
    return weight.module == target or weight.module.endswith("." + target)


def _no_such_target(target: str, linear: Sequence[Weight]) -> ModelError:
    leaves = sorted({weight.module.rpartition(".")[2] for weight in linear})
    fused = _FUSED.get(target, "")
    more = f" ({target} is part of the fused {fused} here)" if fused in leaves else ""
    return ModelError(
        "an adapter target matches no layer of this model",
        value=target,
        expected=f"all, attention, mlp, or linear layers of this model: {', '.join(leaves) or 'it has none'}{more}",
        hint=f"--targets {fused if fused in leaves else ','.join(leaves)}",
    )


def adapter_size(targets: Sequence[Weight], rank: int, *, dora: bool = False) -> AdapterSize:
    """LoRA adds rank × (inputs + outputs) parameters to a linear layer; DoRA also one number for each output."""
    each = [_added(weight, rank, dora=dora) for weight in targets]
    numbers = sum(sum(tensors.values()) for tensors in each)
    shapes = {name: shape for weight in targets for name, shape in _tensors(weight, rank, dora=dora).items()}
    return AdapterSize(rank, numbers, _file_bytes(shapes, 4, "F32"), _file_bytes(shapes, 2, "BF16"))


def _added(weight: Weight, rank: int, *, dora: bool) -> dict[str, int]:
    into, out = weight.in_out
    return {"A": rank * into, "B": rank * out} | ({"magnitude": out} if dora else {})


def _tensors(weight: Weight, rank: int, *, dora: bool) -> dict[str, tuple[int, ...]]:
    into, out = weight.in_out
    name = _PEFT + weight.module
    shapes: dict[str, tuple[int, ...]] = {f"{name}.lora_A.weight": (rank, into), f"{name}.lora_B.weight": (out, rank)}
    return shapes | ({f"{name}.lora_magnitude_vector": (out,)} if dora else {})


def _file_bytes(shapes: dict[str, tuple[int, ...]], size: int, dtype: str) -> int:
    """A safetensors file: eight bytes, a JSON header padded to eight, the numbers."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in sorted(shapes.items()):
        end = at + size * _product(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = len(json.dumps(header, separators=(",", ":")))
    return 8 + text + -text % 8 + at


def _product(shape: Sequence[int]) -> int:
    whole = 1
    for one in shape:
        whole *= one
    return whole


def largest_rank(targets: Sequence[Weight], budget_bytes: int, *, bytes_a_number: int = 4, dora: bool = False) -> int:
    """The largest rank whose file stays within `budget_bytes`; 0 if not even rank 1 does."""

    def size(rank: int) -> int:
        found = adapter_size(targets, rank, dora=dora)
        return found.file_float32 if bytes_a_number == 4 else found.file_bfloat16

    each = sum(sum(weight.in_out) for weight in targets)
    high = budget_bytes // max(1, bytes_a_number * each)  # the numbers alone; the header takes a little more
    while high > 0 and size(high) > budget_bytes:
        high -= 1
    most = min((min(weight.in_out) for weight in targets), default=0)
    return int(min(high, most))
