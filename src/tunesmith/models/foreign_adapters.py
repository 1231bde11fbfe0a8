"""Adapters and model folders that other tools trained: which tool that was, what is refused, and MLX adapters as peft files.

Only JSON, YAML and safetensors are read. A pickled file such as `training_args.bin` is known by its name and never opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import CONFIG, WEIGHTS, is_scale
from tunesmith.models.load import safetensors_shapes
from tunesmith.models.mlx_adapter import MLX_WEIGHTS, is_mlx_config, read_mlx_adapter

__all__ = ["CONFIG", "MLX", "WEIGHTS", "Origin", "checked_adapter", "origin_of", "other_kind"]

MLX = "mlx-lm"
_PICKLED = ("adapter_model.bin", "adapter_model.pt", "pytorch_adapter.bin")
_CARD_BYTES = 2**20
_PROMPTS = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "CARTRIDGE", "CPT")
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal", None)  # those that leave the base's own weights alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an adapter or model comes from. `maker`: the tool, recognised by `files`; empty if none was. `base`: the model that
    its configuration names as the base; empty if it names none."""

    maker: str = ""
    files: tuple[str, ...] = ()
    base: str = ""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is read of a folder: its file names, the adapter's configuration, and tags and text of the model card."""

    names: frozenset[str]
    config: Mapping[str, Any]
    tags: frozenset[str]
    card: str

    @property
    def base(self) -> str:
        named = self.config.get("base_model_name_or_path") or self.config.get("model") or ""
        return named if isinstance(named, str) else ""

    @property
    def marks(self) -> Mapping[str, Any]:
        found = self.config.get("auto_mapping")
        return found if isinstance(found, dict) else {}


def _mlx(seen: _Seen) -> list[str]:
    return [MLX_WEIGHTS, CONFIG] if MLX_WEIGHTS in seen.names and is_mlx_config(seen.config) else []


def _axolotl(seen: _Seen) -> list[str]:
    found = [name for name in ("axolotl_config.yml", "axolotl_config.yaml") if name in seen.names]
    return found + (["README.md"] if "axolotl" in seen.tags or "axolotl version:" in seen.card else [])


def _unsloth(seen: _Seen) -> list[str]:
    config = seen.base.startswith("unsloth/") or "unsloth_fixed" in seen.marks
    return ([CONFIG] if config else []) + (["README.md"] if "unsloth" in seen.tags else [])


def _llama_factory(seen: _Seen) -> list[str]:
    found: list[str] = [name for name in ("llamaboard_config.yaml", "trainer_log.jsonl") if name in seen.names]
    found += ["README.md"] if "llama-factory" in seen.tags else []
    return found + (["all_results.json"] if found and "all_results.json" in seen.names else [])


def _trl(seen: _Seen) -> list[str]:
    found = ["README.md"] if "trl" in seen.tags else []
    return found + (["training_args.bin"] if found and "training_args.bin" in seen.names else [])


def _trainer(seen: _Seen) -> list[str]:
    return ["training_args.bin"] if "training_args.bin" in seen.names else []


# the most particular first: Axolotl, Unsloth and LLaMA-Factory train through TRL or the Trainer and leave their files too
_MAKERS: tuple[tuple[str, Callable[[_Seen], list[str]]], ...] = (
    (MLX, _mlx),
    ("Axolotl", _axolotl),
    ("Unsloth", _unsloth),
    ("LLaMA-Factory", _llama_factory),
    ("TRL", _trl),
    ("the Trainer of transformers", _trainer),
)


def origin_of(folder: Path) -> Origin:
    """Which tool made what is in a folder, by the files there."""
    seen = _seen(folder)
    for maker, look in _MAKERS:
        if files := look(seen):
            return Origin(maker=maker, files=tuple(files), base=seen.base)
    return Origin(base=seen.base)


def _seen(folder: Path) -> _Seen:
    names = frozenset(file.name for file in folder.iterdir() if file.is_file())
    config = _config(folder) if CONFIG in names else {}
    card = ""
    if "README.md" in names:
        with (folder / "README.md").open("rb") as file:
            card = file.read(_CARD_BYTES).decode("utf-8", errors="replace")
    return _Seen(names, config, _tags(card), card)


def _tags(card: str) -> frozenset[str]:
    """The tags in the front matter of a model card; none if it cannot be read, because a card is no part of a model."""
    head = card.removeprefix("---\n").partition("\n---")[0] if card.startswith("---\n") else ""
    try:
        sheet = yaml.safe_load(head)
    except yaml.YAMLError:
        return frozenset()
    tags = sheet.get("tags") if isinstance(sheet, dict) else None
    return frozenset(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else frozenset()


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        found = json.loads((folder / CONFIG).read_bytes())
    except ValueError as error:
        raise _unusable("the adapter's configuration cannot be read", folder / CONFIG, f"JSON ({error})") from error
    if not isinstance(found, dict):
        raise _unusable("the adapter's configuration cannot be read", folder / CONFIG, "an object")
    return found


def _unusable(what: str, value: object, expected: str, hint: str = "copy the adapter again") -> ModelError:
    return ModelError(what, value=str(value), expected=expected, hint=hint)


@contextmanager
def checked_adapter(folder: Path, *, with_modules: bool = False) -> Iterator[Path]:
    """The folder as peft opens it, after a check that nothing is left out: the same one, or an MLX adapter converted.

    Refused is what would not be compared fairly: weights other than LoRA's own, which cannot be switched off for the base, and
    a start that changes the base's weights. `with_modules`: whole modules that were trained along are allowed. ModelError says
    what to do instead.
    """
    if not folder.is_dir():
        raise _unusable("there is no adapter folder here", folder, f"a folder with {CONFIG} and {WEIGHTS}", "check the path")
    names = {file.name for file in folder.iterdir()}
    if WEIGHTS not in names and (pickled := [name for name in _PICKLED if name in names]):
        raise _unusable(
            "the adapter's weights are pickled, which can run code when opened",
            folder / pickled[0],
            WEIGHTS,
            "let its maker save it with safe_serialization=True, or save it again so where you trust the file",
        )
    weights = MLX_WEIGHTS if MLX_WEIGHTS in names and WEIGHTS not in names else WEIGHTS
    if missing := [name for name in (CONFIG, weights) if name not in names]:
        hint = "give the folder that holds both files; a checkpoint has them in its own folder"
        raise _unusable(f"the adapter has no {missing[0]}", folder, f"a folder with {CONFIG} and {weights}", hint)
    config = _config(folder)
    if weights == MLX_WEIGHTS:
        with TemporaryDirectory() as converted:
            read_mlx_adapter(folder, config, Path(converted))
            _refuse_zero(folder, Path(converted))
            yield Path(converted)
        return
    _refuse({**config, "modules_to_save": None} if with_modules else config)
    _refuse_scale(config)
    _refuse_zero(folder, folder)
    yield folder


def _refuse_zero(given: Path, folder: Path) -> None:
    from safetensors import safe_open

    safetensors_shapes(folder / WEIGHTS)  # a damaged file is a message
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        if any(bool(file.get_tensor(name).any()) for name in file.keys() if "lora_B" in name):  # noqa: SIM118 (no mapping)
            return
    raise _unusable(
        "the adapter is zero: it leaves the base as it is",
        given,
        "an update matrix B that training has moved",
        "ask its maker for the trained weights; an adapter that was only created looks like this",
    )


def _refuse_scale(config: Mapping[str, Any]) -> None:
    """peft takes 8 for a rank or alpha that is not there, and divides whatever else it finds."""
    expected = "the value of the training, a finite number other than 0"
    for name in ("r", "lora_alpha"):
        value = config.get(name)
        if not is_scale(value) or (name == "r" and (not isinstance(value, int) or value < 1)):
            raise _unusable("the adapter's configuration does not say how it is scaled", f"{name}: {value}", expected)
    for name in ("rank_pattern", "alpha_pattern"):
        patterns = config.get(name) or {}
        if not isinstance(patterns, dict) or not all(is_scale(value) for value in patterns.values()):
            raise _unusable("the adapter's configuration does not say how it is scaled", f"{name}: {patterns}", expected)


def _refuse(config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise other_kind(kind)
    whole = [name for name in ("modules_to_save", "trainable_token_indices", "alora_invocation_tokens") if config.get(name)]
    whole += ["bias"] if config.get("bias", "none") != "none" else []
    whole += [name for name in ("layer_replication", "megatron_config", "lora_bias", "use_qalora") if config.get(name)]
    if whole:
        value = f"{whole[0]}: {config[whole[0]]}"
        raise _unusable("the adapter holds more than LoRA's own weights", value, "LoRA on linear layers alone", _MERGE)
    start = config.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        hint = "convert it with path_initial_model_for_weight_conversion of peft, or merge it and use --model"
        raise _unusable(
            "the adapter changes the base's own weights when it is opened", f"init_lora_weights: {start}", "a plain LoRA", hint
        )


def other_kind(kind: object) -> ModelError:
    """The error for an adapter that is not LoRA; it depends on the kind in the configuration."""
    if kind in _PROMPTS:
        what = "this adapter is a learned prompt: it changes no weight, so nothing can be merged, exported or compared"
        hint = "use it with the tool that made it; the answers of a server with it can be audited: --url"
    else:
        what, hint = "this kind of adapter cannot be compared", _MERGE
    return _unusable(what, kind, "a LoRA or DoRA adapter", hint)


_MERGE = "merge it into its base with the tool that made it, and name the folder as a model (--model, or base: FOLDER)"
