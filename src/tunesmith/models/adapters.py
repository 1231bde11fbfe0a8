"""Adapters: putting LoRA on chosen layers through peft, with proof that it is really there; saving and opening it.

Which layers those are is decided in `reach`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.adapter_start import plain_form
from tunesmith.models.dropout import switch_off_dropouts
from tunesmith.models.load import safetensors_shapes
from tunesmith.models.patterns import by_pattern
from tunesmith.models.quantised import num_weights
from tunesmith.models.reach import linear_modules, out_of_reach
from tunesmith.models.whole import Whole

__all__ = [
    "CONFIG",
    "WEIGHTS",
    "AdapterKind",
    "Coverage",
    "Form",
    "Patterns",
    "adapter_moves",
    "attach",
    "fill_adapter",
    "is_scale",
    "open_adapter",
    "save_adapter",
    "without_adapter",
]

Form = Callable[[Any], tuple[Any, dict[str, torch.Tensor] | None]]
AdapterKind = Literal["lora", "rslora", "dora"]
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"  # of a folder that peft opens
_OLD_NAME = "`is_gradient_checkpointing` is deprecated"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the adapter reaches: modules adapted of all linear layers within reach, parameters trained of all.

    `out_of_reach` counts the base's parameters that no adapter reaches, by kind; `dropouts` were the base's own, now off.
    """

    modules: tuple[str, ...]
    num_linear: int
    num_trainable: int
    num_parameters: int
    out_of_reach: Mapping[str, int]
    dropouts: Mapping[str, float]

    @property
    def share(self) -> float:
        """Trained share of all parameters, the adapter's own included."""
        return self.num_trainable / self.num_parameters


@dataclass(frozen=True, slots=True)
class Patterns:
    """Ranks and alphas of modules by the ends of their names (see `models.patterns`), where they are not the usual ones."""

    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)


def attach(
    model: Any,
    *,
    kind: AdapterKind,
    rank: int,
    alpha: float,
    dropout: float,
    modules: Sequence[str],
    seed: int,
    patterns: Patterns = Patterns(),
) -> tuple[Any, Coverage]:
    """Put a fresh float32 adapter on exactly `modules`; returns the peft model and what it covers.

    The base's own dropouts are switched off. Raises ModelError if any requested module was left out, or for a pattern that
    means none.
    """
    from peft import LoraConfig, get_peft_model

    by_pattern(modules, rank, patterns.ranks, setting="method.rank_pattern")
    by_pattern(modules, alpha, patterns.alphas, setting="method.alpha_pattern")
    torch.manual_seed(seed)
    linear, unreached, dropouts = linear_modules(model), out_of_reach(model), switch_off_dropouts(model)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        rank_pattern=dict(patterns.ranks),
        alpha_pattern=dict(patterns.alphas),
        lora_dropout=dropout,
        target_modules=_short_names(modules, [name for name, _ in model.named_modules()]),
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
            "the adapter was not applied to every requested layer",
            value=missing[0],
            expected=f"{len(modules)} adapted layers, {len(there)} are",
            hint="name layers that the plan shows to be within reach: --set method.targets=[…]",
        )
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    size = sum(num_weights(p) for p in adapted.parameters())
    return adapted, Coverage(tuple(modules), len(linear), trained, size, unreached, dropouts)


def _short_names(modules: Sequence[str], everything: Iterable[str]) -> list[str]:
    """The last parts of the names where among all modules of the model they mean the same ones, else the full names."""
    leaves = {name.rsplit(".", 1)[-1] for name in modules}
    same = {name for name in everything if name.rsplit(".", 1)[-1] in leaves} == set(modules)
    return sorted(leaves) if same else list(modules)


def save_adapter(model: Any, base_address: str, out: Path, *, form: Form = plain_form) -> None:
    """Write the adapter in peft's own format. `base_address` is what other programs open the base by (BaseFolder.address);
    `form` gives the configuration and the tensors that are written."""
    own = model.peft_config["default"]
    model.peft_config["default"], state = form(model)
    model.peft_config["default"].base_model_name_or_path = base_address
    try:
        # by itself, peft would ask the hub whether there are more embeddings
        model.save_pretrained(out, safe_serialization=True, save_embedding_layers=False, state_dict=state)
    finally:
        model.peft_config["default"] = own
    (out / "README.md").unlink(missing_ok=True)  # peft's empty card; Tunesmith's own evidence stands in the manifest


def fill_adapter(adapted: Any, weights: Path) -> None:
    """Put the tensors in the file `weights` into an adapter that is there. ModelError if one has no place, or a place none."""
    from peft.utils.save_and_load import set_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        result = set_peft_model_state_dict(adapted, load_file(weights))
        odd = [name for name in (*result.unexpected_keys, *result.missing_keys) if "lora_" in name]
    except (RuntimeError, KeyError, ValueError) as error:
        odd = [_reason_of(error)]
    if odd:
        raise ModelError(
            "the adapter does not fit this base",
            value=str(weights.parent),
            expected=f"a place for each tensor, and a tensor for each place ({odd[0]})",
            hint="use the base that the adapter was trained on",
        )


def open_adapter(model: Any, folder: Path, *, name: str = "default", whole: bool = False) -> Any:
    """Put a saved adapter on a base, for use (not training). ModelError if its weights do not fit or are missing.

    `name`: a further one for a model that holds adapters already. `whole` also admits what replaces weights of the base
    (embeddings that were trained along), which cannot be switched off again: for merging only.
    """
    from peft import PeftModel

    if not (folder / WEIGHTS).is_file():
        raise ModelError(
            "no adapter weights here",
            value=str(folder),
            expected=f"{CONFIG} and {WEIGHTS}",
            hint="tunesmith run",
        )
    saved = safetensors_shapes(folder / WEIGHTS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", _OLD_NAME, FutureWarning)
        try:
            if isinstance(model, PeftModel):
                model.load_adapter(folder, name, is_trainable=False)
                adapted = model
            else:
                adapted = PeftModel.from_pretrained(model, folder, adapter_name=name, is_trainable=False)
        except (RuntimeError, ValueError, OSError, KeyError) as error:
            raise ModelError(
                "the adapter does not fit this base",
                value=str(folder),
                expected=_reason_of(error),
                hint="use the base that the adapter was trained on",
            ) from error
    if missing := [str(w.message) for w in caught if "missing adapter keys" in str(w.message)]:
        raise ModelError(
            "the adapter's file lacks weights", value=str(folder), expected=missing[0][:200], hint="copy the adapter again"
        )
    parameters = [one for one, _ in adapted.named_parameters(remove_duplicate=False)]  # tied ones have two names
    there = sum("lora_" in one and name in one.split(".") for one in parameters)
    there += len(_replaced(saved, parameters, name)) if whole else 0
    if there != len(saved):  # peft leaves out in silence what finds no place
        raise ModelError(
            "the adapter does not fit this base",
            value=str(folder),
            expected=f"a place for each of its {len(saved)} tensors; {there} have one",
            hint="use the base that the adapter was trained on",
        )
    return adapted.eval()


def _replaced(saved: Iterable[str], parameters: Iterable[str], name: str) -> list[str]:
    """The saved tensors that replace weights of the base and have a place in the model: copies of whole modules, and
    embeddings of which peft keeps all rows because their number changed."""
    wrappers = {"modules_to_save", "original_module", "base_layer", name}

    def plain(one: str) -> str:
        return ".".join(part for part in one.split(".") if part not in wrappers)

    places = {plain(one) for one in parameters if "lora_" not in one}
    return [one for one in saved if "lora_" not in one and plain(one) in places]


def _reason_of(error: Exception) -> str:
    """What peft or torch says is wrong; the first line of torch's message is only a heading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "mismatch" in line), lines[0] if lines else type(error).__name__)[:200]


def is_scale(value: object) -> bool:
    """Whether this can be the rank, alpha or scale in an adapter's configuration: a finite number other than 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value != 0


def adapter_moves(model: Any) -> bool:
    """Whether the adapter changes the model at all: some update matrix B is not zero, or a trained weight is not the base's."""
    if isinstance(model, Whole):
        return bool(model.differences())
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
