"""Adapters: which layers a recipe names, putting LoRA on them through peft, and proof that it is really there.

A target that does not exist is an error that lists what the model has; peft alone would adapt the rest in silence.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.load import BaseFolder, safetensors_shapes

__all__ = [
    "AdapterKind",
    "Coverage",
    "adapter_moves",
    "adapter_size",
    "attach",
    "choose_modules",
    "linear_modules",
    "open_adapter",
    "save_adapter",
    "without_adapter",
]

AdapterKind = Literal["lora", "rslora", "dora"]
_ATTENTION = re.compile(r"(^|[._])(attn|attention|self_attn|self_attention)([._]|$)")
_MLP = re.compile(r"(^|[._])(mlp|feed_forward|ffn|block_sparse_moe|experts)([._]|$)")
_OLD_NAME = "`is_gradient_checkpointing` is deprecated"
_FUSED = {
    "q_proj": "qkv_proj",
    "k_proj": "qkv_proj",
    "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj",
    "up_proj": "gate_up_proj",
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the adapter reaches: modules adapted of all linear layers in the blocks, parameters trained of all."""

    modules: tuple[str, ...]
    num_linear: int
    num_trainable: int
    num_parameters: int

    @property
    def share(self) -> float:
        """Trained share of all parameters, the adapter's own included."""
        return self.num_trainable / self.num_parameters


def linear_modules(model: Any) -> dict[str, int]:
    """Full name → layer number of every linear layer inside the model's numbered blocks (the output head is not one)."""
    from transformers.pytorch_utils import Conv1D

    found = {}
    for name, module in model.named_modules():
        layer = re.search(r"\.(\d+)\.", name)
        if layer and isinstance(module, torch.nn.Linear | Conv1D):
            found[name] = int(layer.group(1))
    return found


def choose_modules(model: Any, targets: str | Sequence[str], layers: Literal["all"] | int) -> list[str]:
    """Full names of the modules that `targets` and `layers` mean. ModelError if a name matches nothing."""
    linear = linear_modules(model)
    depth = max(linear.values(), default=-1) + 1
    if layers != "all":
        if layers > depth:
            raise ModelError(
                "method.layers asks for more layers than the model has",
                value=layers,
                expected=f"1 to {depth}, or all",
                hint=f"--set method.layers={depth}",
            )
        linear = {name: n for name, n in linear.items() if n >= depth - layers}
    leaves = sorted({name.rsplit(".", 1)[-1] for name in linear})
    if isinstance(targets, str):
        pattern = {"attention": _ATTENTION, "mlp": _MLP, "all": re.compile("")}[targets]
        chosen = [name for name in linear if pattern.search(name.rsplit(".", 1)[0])]
        if not chosen:
            raise ModelError(
                "the model has no such layers",
                value=targets,
                expected=f"one of its linear layers: {', '.join(leaves)}",
                hint=f"--set method.targets=[{leaves[0] if leaves else ''}]",
            )
        return chosen
    for target in targets:
        if not any(name == target or name.endswith("." + target) for name in linear):
            fused = _FUSED.get(target.rsplit(".", 1)[-1], "")
            why = f" ({target} is part of the fused {fused} here)" if fused in leaves else ""
            raise ModelError(
                "an adapter target matches no layer of this model",
                value=target,
                expected=f"linear layers that it has: {', '.join(leaves)}{why}",
                hint=f"--set method.targets=[{fused if fused in leaves else ','.join(leaves)}]",
            )
    return [name for name in linear if any(name == t or name.endswith("." + t) for t in targets)]


def attach(
    model: Any, *, kind: AdapterKind, rank: int, alpha: float, dropout: float, modules: Sequence[str], seed: int
) -> tuple[Any, Coverage]:
    """Put a fresh float32 adapter on exactly `modules`; returns the peft model and what it covers.

    Raises ModelError if any requested module was left out.
    """
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    linear = linear_modules(model)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=_short_names(modules, linear),
        task_type="CAUSAL_LM",
        use_rslora=kind == "rslora",
        use_dora=kind == "dora",
        bias="none",
        fan_in_fan_out=not isinstance(model.get_submodule(modules[0]), torch.nn.Linear),  # GPT-2 keeps its matrices turned
    )
    with _quiet_peft():
        adapted = get_peft_model(model, config)
    there = {
        name.removeprefix("base_model.model.").removesuffix(".lora_A.default")
        for name, _ in adapted.named_modules()
        if name.endswith(".lora_A.default")
    }
    if missing := sorted(set(modules) - there):
        raise ModelError(
            "the adapter was not put on every layer asked for",
            value=missing[0],
            expected=f"{len(modules)} adapted layers, {len(there)} are",
            hint="--set method.targets=all",
        )
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    return adapted, Coverage(tuple(modules), len(linear), trained, sum(p.numel() for p in adapted.parameters()))


def _short_names(modules: Sequence[str], linear: Iterable[str]) -> list[str]:
    """The last parts of the names where they mean the same modules, else the full names."""
    leaves = {name.rsplit(".", 1)[-1] for name in modules}
    same = {name for name in linear if name.rsplit(".", 1)[-1] in leaves} == set(modules)
    return sorted(leaves) if same else list(modules)


def save_adapter(model: Any, base_name: str, out: Path) -> None:
    """Write the adapter in peft's own format. The base is named as the recipe names it, not by where it lies here."""
    model.peft_config["default"].base_model_name_or_path = base_name
    model.save_pretrained(out, safe_serialization=True, save_embedding_layers=False)  # `auto` would ask the hub
    (out / "README.md").unlink(missing_ok=True)  # peft's empty card; Tunesmith's own evidence stands in the manifest


def open_adapter(model: Any, folder: Path) -> Any:
    """Put a saved adapter on a base, for use (not training). ModelError if its weights do not fit or are missing."""
    from peft import PeftModel

    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            "no adapter weights here",
            value=str(folder),
            expected="adapter_config.json and adapter_model.safetensors",
            hint="tunesmith run",
        )
    saved = safetensors_shapes(folder / "adapter_model.safetensors")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", _OLD_NAME, FutureWarning)
        try:
            adapted = PeftModel.from_pretrained(model, folder, is_trainable=False)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(
                "the adapter does not fit this base",
                value=str(folder),
                expected=str(error).splitlines()[0][:200],
                hint="use the base that the adapter was trained on",
            ) from error
    if missing := [str(w.message) for w in caught if "missing adapter keys" in str(w.message)]:
        raise ModelError(
            "the adapter's file lacks weights", value=str(folder), expected=missing[0][:200], hint="copy the adapter again"
        )
    there = sum("lora_" in name for name, _ in adapted.named_parameters())
    if there != len(saved):  # peft leaves out in silence what finds no place
        raise ModelError(
            "the adapter does not fit this base",
            value=str(folder),
            expected=f"a place for each of its {len(saved)} tensors; {there} have one",
            hint="use the base that the adapter was trained on",
        )
    return adapted.eval()


def adapter_moves(model: Any) -> bool:
    """Whether the adapter changes the model at all: some update matrix B is not zero."""
    return any(bool(p.detach().any()) for name, p in model.named_parameters() if "lora_B" in name)


@contextmanager
def _quiet_peft() -> Iterator[None]:
    """peft still asks transformers by an old name; nothing a user could do about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _OLD_NAME, FutureWarning)
        yield


@contextmanager
def without_adapter(model: Any) -> Iterator[Any]:
    """The base behind an adapted model: same weights in memory, adapter off. A plain model passes through."""
    if hasattr(model, "disable_adapter"):
        with model.disable_adapter():
            yield model
    else:
        yield model


def adapter_size(
    base: BaseFolder, *, kind: AdapterKind, rank: int, targets: str | Sequence[str], layers: Literal["all"] | int
) -> tuple[int, int, int]:
    """(adapted modules, all linear modules, trainable parameters) of an adapter, from the architecture alone."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base.path, trust_remote_code=False))
    modules = choose_modules(model, targets, layers)
    shapes = [model.get_submodule(name).weight.shape for name in modules]
    extra = sum(shape[0] for shape in shapes) if kind == "dora" else 0
    return len(modules), len(linear_modules(model)), rank * sum(sum(shape) for shape in shapes) + extra
