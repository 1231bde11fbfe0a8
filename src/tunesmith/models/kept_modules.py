"""Embeddings and output matrix that are trained along with an adapter and kept with it, as peft's modules_to_save.

In training they are the base's own parameters, which move; a copy of what they were is put back wherever the base is asked.
Tied ones are one matrix, which moves once. In the adapter's file it stands under both names, where peft looks for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import CONFIG, WEIGHTS, open_adapter
from tunesmith.models.sums import sums
from tunesmith.models.whole import Whole

__all__ = ["keep_with", "kept_parameters", "open_with_modules", "save_modules", "with_modules"]

_PREFIX = "base_model.model."


def kept_parameters(model: Any, names: Sequence[str]) -> dict[str, torch.nn.Parameter]:
    """The parameters of the modules that `names` mean, by full name; a tied matrix once, under the name of the embeddings.

    ModelError for a name that means neither the embeddings nor the output matrix of this model.
    """
    ends = {module: name for name, module in model.named_modules()}
    allowed = {
        ends[module]: module for module in (model.get_input_embeddings(), model.get_output_embeddings()) if module in ends
    }
    wanted = set()
    for name in names:
        meant = [full for full in allowed if full == name or full.endswith("." + name)]
        if not meant:
            short = [full.rsplit(".", 1)[-1] for full in allowed]
            raise ModelError(
                "method.modules names no embeddings and no output matrix of this model",
                value=name,
                expected=f"some of {', '.join(short)}; linear layers inside the model are adapted by method.targets",
                hint=f"--set 'method.modules=[{', '.join(short)}]'",
            )
        wanted.update(meant)
    own = {id(parameter) for full in wanted for parameter in allowed[full].parameters()}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in own}


def keep_with(adapted: Any, kept: Mapping[str, torch.nn.Parameter]) -> None:
    """Let these parameters of the base move with the adapter. Where the adapter is switched off, they are what they were."""
    first = {name: parameter.detach().clone() for name, parameter in kept.items()}
    for parameter in kept.values():
        parameter.requires_grad_(True)
    plain = adapted.disable_adapter

    @contextmanager
    def disable_adapter() -> Iterator[None]:
        now = {name: parameter.data for name, parameter in kept.items()}
        for name, parameter in kept.items():
            parameter.data = first[name]
        try:
            with plain():
                yield
        finally:
            for name, parameter in kept.items():
                parameter.data = now[name]
                parameter.requires_grad_(True)

    adapted.disable_adapter = disable_adapter


def save_modules(folder: Path, model: Any, kept: Mapping[str, torch.nn.Parameter]) -> None:
    """Add these parameters to the adapter that is saved in `folder`."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    tensors |= {f"{_PREFIX}{name}": parameter.detach().cpu().contiguous() for name, parameter in kept.items()}
    head = model.get_output_embeddings()
    if _is_tied(model):  # peft looks for it under both names
        names = {module: name for name, module in model.named_modules()}
        tensors[f"{_PREFIX}{names[head]}.weight"] = head.weight.detach().cpu().clone()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((folder / CONFIG).read_bytes())
    config["modules_to_save"] = sorted({name.rsplit(".", 2)[-2] for name in kept})
    config["ensure_weight_tying"] = _is_tied(model)
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def with_modules(folder: Path) -> bool:
    """Whether the adapter in `folder` replaces whole modules of its base."""
    file = folder / CONFIG
    return file.is_file() and bool(json.loads(file.read_bytes()).get("modules_to_save"))


def open_with_modules(model: Any, folder: Path) -> Whole:
    """The base `model` and an adapter that replaces modules as one model, for use: base and tuned can both be asked.

    ModelError if the adapter does not fit, or if its output matrix has parted from embeddings to which the base ties it.
    """
    own = dict(model.named_parameters())
    tied = _is_tied(model)
    adapted = open_adapter(model, folder, whole=True)
    replaced = {
        f"{name}.{key}".removeprefix(_PREFIX): (module.modules_to_save["default"], module.original_module, key, value)
        for name, module in adapted.named_modules()
        if hasattr(module, "modules_to_save") and hasattr(module, "original_module")
        for key, value in module.modules_to_save["default"].named_parameters()
    }
    trained = {name: value.detach() for name, (*_, value) in replaced.items()}
    bare = adapted.get_base_model()
    if tied and not torch.equal(bare.get_input_embeddings().weight, bare.get_output_embeddings().weight):
        raise ModelError(
            "the adapter parts the output matrix from the embeddings to which the base ties it",
            value=str(folder),
            expected="one matrix for both, as in the base",
            hint="merge it first, and use the merged model: tunesmith merge --adapter",
        )
    trained |= {made.name: made.total.to(own[made.name].dtype) for made in sums(adapted)}
    plain = adapted.unload()
    for name, (_, original, key, _) in replaced.items():
        place, _, leaf = name.removesuffix(f".{key}").rpartition(".")
        setattr(plain.get_submodule(place) if place else plain, leaf, original)
    kept = {name: trained.get(name, parameter.detach()) for name, parameter in own.items()}
    return Whole(plain, kept).eval()


def _is_tied(model: Any) -> bool:
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight
