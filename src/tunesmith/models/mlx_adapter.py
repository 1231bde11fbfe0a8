"""Adapters in the files of mlx-lm (`adapters.safetensors`, `adapter_config.json`), from peft's files and back.

mlx computes y + scale · (x a) b with a (in, r) and b (r, out); peft y + alpha / r · B (A x), so a = Aᵀ, b = Bᵀ and
scale = alpha / r. The trained lengths of DoRA are m (out) in both. Source: mlx_lm/tuner/lora.py and dora.py.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import CONFIG, WEIGHTS, is_scale
from tunesmith.models.load import safetensors_shapes

__all__ = ["MLX_WEIGHTS", "is_mlx_config", "read_mlx_adapter", "write_mlx_adapter"]

MLX_WEIGHTS = "adapters.safetensors"
_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.(?:lora_(?P<part>[AB])|lora_magnitude_vector)(?:\.weight)?")
_LAYER = re.compile(r"(?:.*\.)?layers\.(?P<number>\d+)\.(?P<inside>.+)")
_PARTS = {"lora": {"lora_a": "lora_A.weight", "lora_b": "lora_B.weight"}}
_PARTS["dora"] = {**_PARTS["lora"], "m": "lora_magnitude_vector"}
_FUSE = "fuse it with mlx_lm.fuse, unquantised, and audit that folder with --model"


def is_mlx_config(config: Mapping[str, Any]) -> bool:
    """Whether an `adapter_config.json` is one of mlx-lm."""
    return "lora_parameters" in config


def write_mlx_adapter(adapter: Path, out: Path, *, num_layers: int, base: str) -> None:
    """Write the adapter in the folder `adapter` (peft: LoRA, rsLoRA or DoRA) to `out` for mlx-lm.

    `num_layers`: of the base, whose last ones mlx-lm adapts; `base`: what programs open the base by. A layer or matrix that the
    adapter leaves alone keeps an update of zero. ModelError for what mlx-lm has no place for: several ranks or scales, matrices
    outside of the layers, embeddings and whole modules.
    """
    from safetensors.torch import load_file, save_file

    safetensors_shapes(adapter / WEIGHTS)  # a damaged file is a message
    config: Mapping[str, Any] = json.loads((adapter / CONFIG).read_bytes())
    rank, alpha = _one(config, "r", "rank_pattern"), _one(config, "lora_alpha", "alpha_pattern")
    for key in ("modules_to_save", "fan_in_fan_out", "trainable_token_indices", "target_parameters"):
        if config.get(key):
            raise _unfit(f"{key}: {config[key]}", "LoRA on linear layers alone")
    tensors, keys, first = {}, set(), num_layers
    for name, tensor in load_file(adapter / WEIGHTS).items():
        found = _NAME.fullmatch(name)
        layer = _LAYER.fullmatch(found["module"]) if found else None
        if found is None or layer is None or tensor.dim() != (2 if found["part"] else 1):
            raise _unfit(name, "matrices of linear layers inside the model's blocks")
        keys.add(layer["inside"])
        first = min(first, int(layer["number"]))
        new = {"A": "lora_a", "B": "lora_b"}.get(found["part"] or "", "m")
        tensors[f"{found['module']}.{new}"] = _turned(tensor)
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    made = {
        "fine_tune_type": "dora" if config.get("use_dora") else "lora",
        "model": base,
        "num_layers": num_layers - first,
        "lora_parameters": {"rank": rank, "scale": scale, "dropout": 0.0, "keys": sorted(keys)},
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / MLX_WEIGHTS, metadata={"format": "mlx"})
    (out / CONFIG).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


def _one(config: Mapping[str, Any], key: str, pattern: str) -> Any:
    if config.get(pattern):
        raise _unfit(f"{pattern}: {config[pattern]}", "one rank and one alpha for all layers")
    return config[key]


def _unfit(value: object, expected: str) -> ModelError:
    return ModelError(
        "mlx-lm has no place for this adapter",
        value=str(value),
        expected=expected,
        hint="export the merged model instead: --to mlx",
    )


def read_mlx_adapter(folder: Path, config: Mapping[str, Any], out: Path) -> None:
    """Write the mlx-lm adapter in `folder`, whose configuration is `config`, to `out` in peft's files.

    LoRA and DoRA on linear layers of one rank are converted; no number of a matrix changes. ModelError for everything else:
    embeddings, experts, whole weights, tensors that are missing, a scale that is not stated.
    """
    from safetensors.torch import load_file, save_file

    kind, settings = config.get("fine_tune_type", "lora"), config.get("lora_parameters")
    scale = settings.get("scale") if isinstance(settings, dict) else None
    if kind not in _PARTS or not is_scale(scale):
        expected = "fine_tune_type: lora or dora, with lora_parameters that hold the scale"
        raise _unreadable(f"fine_tune_type: {kind}", expected)
    safetensors_shapes(folder / MLX_WEIGHTS)  # a damaged file is a message
    tensors, parts = load_file(folder / MLX_WEIGHTS), _PARTS[kind]
    modules = sorted({name.rpartition(".")[0] for name in tensors})
    wanted = {f"{module}.{part}": (module, part) for module in modules for part in parts}
    odd = [name for name, t in tensors.items() if name not in wanted or t.dim() != _dims(name) or "embed" in name]
    if odd or wanted.keys() - tensors.keys() or not tensors:
        first = next(iter([*sorted(odd), *sorted(wanted.keys() - tensors.keys())]), "no tensor")
        raise _unreadable(first, f"{' and '.join(parts)} of linear layers")
    ranks = {tensors[f"{module}.lora_a"].shape[1] for module in modules}
    if len(ranks) != 1:
        raise _unreadable(f"ranks {sorted(ranks)}", "one rank for all layers")
    rank = ranks.pop()
    turned = {f"base_model.model.{module}.{parts[part]}": _turned(tensors[name]) for name, (module, part) in wanted.items()}
    out.mkdir(parents=True, exist_ok=True)
    save_file(turned, out / WEIGHTS)
    peft = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": scale * rank, "target_modules": modules}
    peft |= {"use_dora": True} if kind == "dora" else {}
    (out / CONFIG).write_text(json.dumps({**peft, "bias": "none", "inference_mode": True}), encoding="utf-8")


def _dims(name: str) -> int:
    return 1 if name.endswith(".m") else 2


def _turned(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.T.contiguous() if tensor.dim() == 2 else tensor


def _unreadable(value: str, expected: str) -> ModelError:
    return ModelError("this MLX adapter cannot be converted", value=value, expected=expected, hint=_FUSE)
