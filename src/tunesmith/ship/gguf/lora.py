"""A PEFT adapter as a GGUF file that llama.cpp puts on its base when it is loaded, or for each request."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gguf import MODEL_ARCH_NAMES, GGMLQuantizationType, GGUFType, GGUFWriter

from tunesmith.core.errors import ModelError
from tunesmith.models.load import BaseFolder, safetensors_shapes
from tunesmith.ship.gguf.architectures import architecture, configuration
from tunesmith.ship.gguf.file import GgufFile, PlannedTensor, check_target, write_file
from tunesmith.ship.gguf.tensors import FolderTensor, folder_tensors, rows_in_pairs

__all__ = ["write_gguf_lora"]

_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
_EXTRAS = ("modules_to_save", "trainable_token_indices", "target_parameters", "layer_replication", "alora_invocation_tokens")


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two matrices of one adapted module, and by how much their product is scaled."""

    own: str
    a: np.ndarray[Any, Any]
    b: np.ndarray[Any, Any]
    scaling: float


def write_gguf_lora(base: BaseFolder, adapter: Path, out: Path, *, name: str = "") -> GgufFile:
    """Write the LoRA or rsLoRA adapter in the folder `adapter`, trained on `base`, to `out`, in float32.

    The scale of the adapter is in the file, so that it is loaded with scale 1. ModelError for what a GGUF adapter cannot hold
    (DoRA, trained embeddings, biases), and for one that does not fit the base.
    """
    check_target(out)
    kind = architecture(base.config)
    config = _checked_config(adapter)
    places = {tensor.own: tensor for tensor in folder_tensors(base, kind, configuration(base))}
    pairs = list(_pairs(adapter, config))
    alpha = pairs[0].scaling * len(pairs[0].a)
    writer = GGUFWriter(None, MODEL_ARCH_NAMES[kind.arch])
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    writer.add_name(name or f"{Path(base.name).name}, adapter")
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, Path(base.name).name)
    planned = [tensor for pair in pairs for tensor in _planned(pair, _place(pair, places, base), alpha)]
    return write_file(writer, planned, out)


def _checked_config(adapter: Path) -> Mapping[str, Any]:
    file = adapter / "adapter_config.json"
    try:
        config: dict[str, Any] = dict(json.loads(file.read_bytes()))
    except (OSError, ValueError) as error:
        raise ModelError(
            "no adapter here",
            value=str(adapter),
            expected=f"adapter_config.json and adapter_model.safetensors ({error})",
            hint="tunesmith run",
        ) from error
    reasons = [
        "a DoRA adapter" if config.get("use_dora") else "",
        "" if config.get("peft_type") == "LORA" else f"an adapter of the kind {config.get('peft_type')}",
        "trained biases" if config.get("bias", "none") != "none" or config.get("lora_bias") else "",
        "matrices that are stored transposed" if config.get("fan_in_fan_out") else "",
        *(f"{extra} in its configuration" for extra in _EXTRAS if config.get(extra)),
    ]
    if found := [reason for reason in reasons if reason]:
        raise ModelError(
            "this adapter cannot be written as a GGUF adapter",
            value=found[0],
            expected="plain LoRA or rsLoRA on linear layers",
            hint="export the merged model instead: --to gguf",
        )
    return config


def _pairs(adapter: Path, config: Mapping[str, Any]) -> Iterator[_Pair]:
    """The pairs in the order of the modules. ModelError for a damaged file, or tensors that are not pairs of LoRA."""
    file = adapter / "adapter_model.safetensors"
    if not file.is_file():
        raise ModelError(
            "the adapter has no weights",
            value=str(adapter),
            expected=file.name,
            hint="copy the adapter again, or tunesmith run",
        )
    names = safetensors_shapes(file)
    modules = sorted({name.removesuffix(_A) for name in names if name.endswith(_A)}, key=_natural)
    expected = {module + ending for module in modules for ending in (_A, _B)}
    if odd := sorted(set(names) ^ expected) or ([] if modules else ["nothing"]):
        raise ModelError(
            "the adapter's file does not hold pairs of LoRA matrices",
            value=odd[0],
            expected=f"NAME{_A} and NAME{_B} for every adapted module",
            hint="copy the adapter again; trained embeddings ship merged: --to gguf",
        )
    tensors = _loaded(file)
    for module in modules:
        a, b = tensors[module + _A], tensors[module + _B]
        yield _Pair(module.removeprefix(_PREFIX) + ".weight", a, b, _scaling(module, len(a), config))


def _loaded(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return {name: opened.get_tensor(name).float().numpy() for name in opened.keys()}  # noqa: SIM118 (not a mapping)


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Layer 2 before layer 10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in name.split("."))


def _scaling(module: str, rank: int, config: Mapping[str, Any]) -> float:
    from peft.utils.other import get_pattern_key

    patterns = config.get("alpha_pattern") or {}
    name = module.removeprefix(_PREFIX)
    alpha = float(patterns.get(get_pattern_key(patterns.keys(), name), config["lora_alpha"]))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _place(pair: _Pair, places: Mapping[str, FolderTensor], base: BaseFolder) -> FolderTensor:
    found = places.get(pair.own)
    if found is None or (len(pair.b), pair.a.shape[1]) != found.shape or len(pair.a) != pair.b.shape[1]:
        fits = "no such matrix" if found is None else f"{found.shape[0]} x {found.shape[1]}"
        raise ModelError(
            "the adapter does not fit this base",
            value=f"{pair.own}, {len(pair.b)} x {pair.a.shape[1]}",
            expected=f"{fits} in {base.name}",
            hint="use the base that the adapter was trained on",
        )
    return found


def _planned(pair: _Pair, place: FolderTensor, alpha: float) -> Iterator[PlannedTensor]:
    """llama.cpp scales every pair by `alpha` over its rank; what a module has beyond that goes into its second matrix."""
    b = rows_in_pairs(pair.b, place.heads) if place.heads else pair.b
    factor = pair.scaling * len(pair.a) / alpha
    scaled = b if math.isclose(factor, 1.0) else b * np.float32(factor)
    for ending, values in ((".lora_a", pair.a), (".lora_b", scaled)):
        yield PlannedTensor(place.name + ending, values.shape, GGMLQuantizationType.F32, partial(np.asarray, values))
