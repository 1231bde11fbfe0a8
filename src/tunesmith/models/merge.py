"""Merging: the base's own folder, with the adapter's update added into the matrices that it adapts and nothing else changed.

The base's weight files are written again under their own names, tensor by tensor, so that every reader of the base reads the
merged model. Sums are made in float32 and rounded once, to the type in which they are stored.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import open_adapter
from tunesmith.models.chat import open_chat
from tunesmith.models.load import BaseFolder, StoredType, load_model, safetensors_shapes, stored_types
from tunesmith.models.memory import release_memory
from tunesmith.models.settings import config_text, generation_settings

__all__ = ["MergePrecision", "merge", "share_as_summed", "sums"]

MergePrecision = Literal["auto", "float32", "bfloat16", "float16"]
_INDEX = "model.safetensors.index.json"


def merge(
    base: BaseFolder,
    adapter: Path,
    out: Path,
    *,
    precision: MergePrecision = "auto",
    generation: Mapping[str, Any] | None = None,
) -> None:
    """Write base + adapter as one model folder to `out`.

    `precision`: the type in which weights are stored; `auto` keeps the base's own for each tensor. config.json is the base's to
    the byte, but for the type it declares where that changes. generation_config.json is the base's with `generation` over it,
    and declares every token at which Tunesmith stops. Tokenizer, template and licence are copied.

    Raises ModelError if the adapter does not fit, if a sum is not finite in its type, or if a tensor of the model has no place
    in the base's files.
    """
    release_memory()
    wanted = None if precision == "auto" else precision
    model = _merged_model(base, adapter, wanted)
    tensors = _by_file_name(model, {name for file in base.weights for name in safetensors_shapes(file)}, base)
    out.mkdir(parents=True, exist_ok=True)
    total = sum(_write_weights(file, out / file.name, tensors, wanted) for file in base.weights)
    if (base.path / _INDEX).is_file() and len(base.weights) > 1:
        (out / _INDEX).write_text(_index_text(base, total), encoding="utf-8")
    for file in base.other_files():
        shutil.copyfile(file, out / file.name)
    (out / "config.json").write_text(config_text(base, wanted), encoding="utf-8")
    settings = generation_settings(base, open_chat(base).end_ids, generation or {})
    (out / "generation_config.json").write_text(settings, encoding="utf-8")


def sums(adapted: Any) -> Iterator[tuple[str, torch.nn.Parameter, torch.Tensor]]:
    """Name in the plain model, parameter, and base + update in float32, for each adapted matrix; the model stays as it is.

    peft's own merging makes the sum, so that LoRA, rsLoRA and DoRA come out as peft means them.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in adapted.base_model.model.named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        owner: Any = layer.get_base_layer()
        own = {key: (parameter, parameter.data) for key, parameter in owner.named_parameters(recurse=False)}
        for parameter, data in own.values():
            parameter.data = data.float()
        before = {key: parameter.data for key, (parameter, _) in own.items()}
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:
            raise ModelError(
                "the adapter's update is not finite",
                value=name,
                expected=f"an adapter of numbers ({error})",
                hint="train again with a lower train.learning_rate",
            ) from error
        made = {key: parameter.data for key, (parameter, _) in own.items() if parameter.data is not before[key]}
        for parameter, data in own.values():
            parameter.data = data
        layer.merged_adapters.clear()
        for key, total in made.items():
            yield f"{name}.{key}".replace(".base_layer", ""), own[key][0], total


def share_as_summed(adapted: Any, merged: Any, types: Sequence[StoredType]) -> float:
    """Share of the elements of the adapted matrices that `merged` holds as base + update, made in float32 and rounded once.

    `merged` is the merged folder opened in float32, `types` are those in which it stores weights. Rounding hides a small fault
    (a scale that is off by a hundredth) from the logits, and not from this.
    """
    right, count = 0, 0
    for name, _, total in sums(adapted):
        there = merged.get_parameter(name).float()
        rounded = [there == total.to(getattr(torch, kind)).float() for kind in types]
        right += int(torch.stack(rounded).any(0).sum())
        count += total.numel()
    return right / max(1, count)


def _merged_model(base: BaseFolder, adapter: Path, precision: StoredType | None) -> Any:
    """The plain model that holds the sums, loaded in a type that holds every tensor of the base exactly."""
    types = set(stored_types(base.weights))
    exact: StoredType = types.pop() if len(types) == 1 else "float32"
    adapted = open_adapter(load_model(base, exact).cpu(), adapter)
    for _, parameter, total in sums(adapted):
        parameter.data = total.to(getattr(torch, precision or exact))
    return adapted.unload()


def _by_file_name(model: Any, names: set[str], base: BaseFolder) -> dict[str, torch.Tensor]:
    """The model's tensors under the names that the base's files give them. ModelError if one has no place there."""
    from transformers.core_model_loading import revert_weight_conversion

    prefix = f"{model.base_model_prefix}."
    placed, homeless = dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    for name, tensor in revert_weight_conversion(model, model.state_dict()).items():
        other = name.removeprefix(prefix) if name.startswith(prefix) else prefix + name
        known = name if name in names else other
        (placed if known in names else homeless)[known] = tensor
    held = {tensor.data_ptr() for tensor in placed.values()}
    if lost := [name for name, tensor in homeless.items() if tensor.data_ptr() not in held]:  # tied ones are stored once
        raise ModelError(
            "a tensor of the model has no place in the base's files",
            value=lost[0],
            expected=f"the names that the files use, such as {min(names)}",
            hint=f"save the base once with transformers' save_pretrained and take that folder in place of {base.path}",
        )
    return placed


def _write_weights(file: Path, out: Path, tensors: Mapping[str, torch.Tensor], precision: StoredType | None) -> int:
    """Write one weight file of the base again with what `tensors` holds for it; the bytes of its tensors."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    stored = {}
    with safe_open(file, "pt") as opened:
        for name in opened.keys():  # noqa: SIM118 (not a mapping)
            own = opened.get_tensor(name)
            stored[name] = _stored(name, own, tensors.get(name, own), precision)
        save_file(stored, out, metadata=opened.metadata())
    return sum(tensor.numel() * tensor.element_size() for tensor in stored.values())


def _stored(name: str, own: torch.Tensor, total: torch.Tensor, precision: StoredType | None) -> torch.Tensor:
    if not own.is_floating_point() or own.element_size() == 1:
        return own
    kind = own.dtype if precision is None else getattr(torch, precision)
    if total.shape != own.shape:
        raise ModelError(
            "a merged tensor has another shape than in the base's files",
            value=f"{name}: {tuple(total.shape)}",
            expected=f"{tuple(own.shape)}",
            hint="open an issue that names the base: merging does not support the way its weights are stored",
        )
    made = total.to(kind).contiguous()
    if kind == torch.float16 and not bool(made.isfinite().all()):
        raise ModelError(
            "a merged tensor does not fit into float16",
            value=name,
            expected="numbers up to 65,504",
            hint="--set merge.precision=bfloat16",
        )
    return made


def _index_text(base: BaseFolder, total_bytes: int) -> str:
    """The base's index, whose total changes only where the type does."""
    text = (base.path / _INDEX).read_text(encoding="utf-8")
    index = json.loads(text)
    if index.get("metadata", {}).get("total_size") in {None, total_bytes}:
        return text
    return json.dumps({**index, "metadata": {**index["metadata"], "total_size": total_bytes}}, indent=2) + "\n"
