"""Convert the four YAML files of the blog-tuning pipeline that Tunesmith grew from, and list settings without an equivalent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tunesmith.core.errors import Problem, RecipeError

__all__ = ["translate"]

_FILES = ("data_config.yaml", "model_config.yaml", "training_config.yaml", "evaluation_config.yaml")


def _same(value: Any) -> Any:
    return value


def _leaf_names(keys: list[str]) -> list[str]:
    return [key.rsplit(".", 1)[-1] for key in keys]


_MOVES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "base_model.path": ("base", _same),
    "dataset.test_split": ("split.test", _same),
    "dataset.val_split": ("split.val", _same),
    "formatting.system_prompt": ("build.system_prompt", _same),
    "formatting.max_length": ("train.max_tokens", _same),
    "lora.rank": ("method.rank", _same),
    "lora.dropout": ("method.dropout", _same),
    "lora.keys": ("method.targets", _leaf_names),
    "lora.lora_layers": ("method.layers", _same),
    "training.iters": ("train.max_steps", _same),
    "training.batch_size": ("train.batch_examples", _same),
    "training.learning_rate": ("train.learning_rate", float),
    "training.steps_per_eval": ("train.evaluate_every", _same),
    "training.grad_checkpoint": ("train.gradient_checkpointing", _same),
    "metrics.patience": ("train.patience", _same),
    "metrics.min_delta": ("train.min_delta", _same),
    "evaluation.max_tokens": ("eval.max_new_tokens", _same),
}
_LEFT: Mapping[str, str] = {
    "dataset.name": "name the files of the data set under sources",
    "validation": "the label audit checks every example, not a sample",
    "lora.num_layers": "method.layers counts the adapted layers",
    "paths": "artifacts go to .tunesmith, named by their content",
    "optimizer.type": "AdamW with train.weight_decay 0 is Adam",
    "evaluation.method": "all metrics are measured",
    "evaluation.temperature": "comparisons are greedy, so that they do not depend on chance",
    "metrics.bertscore": "not measured by Tunesmith",
    "metrics.simple": "gates compare with the base instead of with a fixed score",
    "comparison": "the base is always measured; the verdict comes from gates, not from score bands",
}


def translate(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Recipe values, and notes on what was not converted. RecipeError if the files are missing or not understood."""
    flat: dict[str, Any] = {}
    for name in _FILES:
        flat |= _flatten(_read(folder / name), "")
    values: dict[str, Any] = {"sources": _sources(folder, flat)}
    for old, (new, change) in _MOVES.items():
        if old in flat:
            _put(values, new, change(flat[old]))
    if "lora.scale" in flat:
        rank = flat.get("lora.rank", 16)
        _put(values, "method.alpha", float(flat["lora.scale"]) * rank)
    if any(key.startswith("training.") for key in flat):  # that pipeline had none of these, and ours are on by default
        values["train"] |= {"schedule": "constant", "warmup": 0.0, "max_grad_norm": 0.0}
    known = (*_MOVES, "lora.scale", *_LEFT)
    if strange := [key for key in flat if not any(key == k or key.startswith(k + ".") for k in known)]:
        raise RecipeError(
            [
                Problem(
                    what="a setting of the older pipeline is not understood",
                    value=key,
                    expected="one that this translation knows",
                    hint=f"remove {key} from {folder} and set it in tunesmith.yaml by hand",
                )
                for key in strange
            ]
        )
    notes = [
        f"not carried over: {key}: {why}"
        for key, why in _LEFT.items()
        if any(k == key or k.startswith(key + ".") for k in flat)
    ]
    if len(values["sources"]) > 1:
        notes.insert(0, "the train, val and test files are pooled, copies are removed, and the rest is split again by document")
    if "lora.keys" in flat:
        notes.insert(
            0, "method.targets must exist in the base; on a fused one (Phi-3) name qkv_proj instead of q_proj, k_proj, v_proj"
        )
    if "lora.scale" in flat:
        scale, alpha = flat["lora.scale"], values["method"]["alpha"]
        notes.insert(0, f"lora scale {scale:g} multiplies the update directly; here alpha / rank does, so alpha is {alpha:g}")
    return values, notes


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(
            [
                Problem(
                    what="cannot read a file of the older pipeline",
                    value=str(path),
                    expected=f"YAML ({str(error).splitlines()[0]})",
                    hint=f"--from takes the folder that holds {', '.join(_FILES)}",
                )
            ]
        ) from error
    return data if isinstance(data, dict) else {}


def _flatten(data: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _sources(folder: Path, flat: Mapping[str, Any]) -> list[str]:
    """The data files next to the configuration if they exist, else the paths in the configuration."""
    named = [Path(str(flat[key])) for key in ("paths.train_data", "paths.test_data") if key in flat]
    if named:
        named.insert(1, named[0].with_name("val.json"))
    for root in (folder, folder.parent):
        for place in (lambda p: p, lambda p: Path(p.name)):
            there = [root / place(p) for p in dict.fromkeys(named)]
            if there and all(p.is_file() for p in there):
                return [str(p) for p in there]
    return [str(p) for p in dict.fromkeys(named)] or ["./data"]


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    *sections, last = path.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[last] = value
