"""A peft adapter as mlx-lm reads it: `adapters.safetensors` and `adapter_config.json`.

The way back is `models.foreign_adapters.checked_adapter`. mlx computes y + scale · (x a) b with a (in, r) and b (r, out); peft
y + alpha / r · B (A x), so a = Aᵀ and b = Bᵀ. Source: mlx_lm/tuner/lora.py and dora.py.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.models.foreign_adapters import CONFIG, WEIGHTS
from tunesmith.models.load import safetensors_shapes

__all__ = ["MLX_WEIGHTS", "write_mlx_adapter"]

MLX_WEIGHTS = "adapters.safetensors"
_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.(?:lora_(?P<part>[AB])|lora_magnitude_vector)(?:\.weight)?")
_LAYER = re.compile(r"(?:.*\.)?layers\.(?P<number>\d+)\.(?P<inside>.+)")


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
        tensors[f"{found['module']}.{new}"] = tensor.T.contiguous() if found["part"] else tensor
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
