"""Merging: the base's own folder, with the adapter's update added into the matrices that it adapts and nothing else changed.

The base's weight files are written again under their own names, tensor by tensor, so that every reader of the base reads the
merged model. Sums are made in float32 and rounded once, to the type in which they are stored.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.chat import open_chat
from tunesmith.models.extended_vocabulary import TOKENIZER_FILES, parted_head, resize_for, tokenizer_of
from tunesmith.models.load import BaseFolder, StoredType, find_base, load_model, safetensors_shapes, stored_types
from tunesmith.models.memory import release_memory
from tunesmith.models.merged_files import check_precision, check_size, write_weights
from tunesmith.models.mixing import AdapterMix, open_mix
from tunesmith.models.settings import config_text, generation_settings
from tunesmith.models.sums import sums
from tunesmith.models.tuned import is_whole, refuse_scorer

__all__ = ["MergePrecision", "Merged", "merge", "share_as_summed", "write_model"]

MergePrecision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What a merge had to change apart from the adapted matrices.

    `vocabulary`: the number of rows of an extended embedding, or None. `untied`: the head became a matrix of its own.
    """

    vocabulary: int | None
    untied: bool


def merge(
    base: BaseFolder,
    adapter: Path | AdapterMix,
    out: Path,
    *,
    precision: MergePrecision = "auto",
    generation: Mapping[str, Any] | None = None,
    max_shard_size: str = "",
) -> Merged:
    """Write base + adapter, or base + the combination of several, as one model folder to `out`. `adapter` may be the folder of
    a whole model that was trained from the base; its weights are then taken as they are.

    `precision`: the type in which weights are stored; `auto` keeps the base's own for each tensor. `max_shard_size` (`2GB`):
    largest weight file; empty keeps the base's own split. config.json is the base's to the byte, but for the type it declares
    where that changes, and for `vocab_size` and `tie_word_embeddings` where the adapter changed the embeddings.
    generation_config.json is the base's with `generation` over it, and declares every token at which Tunesmith stops.
    Tokenizer, template and licence are copied; an adapter that adds tokens brings its own tokenizer.

    Raises ModelError if the adapter does not fit or is that of a reward model, if a sum is not finite in its type, or if a
    tensor of the model has no place in the base's files.
    """
    check_precision(precision)
    check_size(max_shard_size)
    for folder in (adapter,) if isinstance(adapter, Path) else adapter.folders:
        refuse_scorer(folder)
    release_memory()
    wanted = None if precision == "auto" else precision
    if isinstance(adapter, Path) and is_whole(adapter):
        model = load_model(find_base(str(adapter), offline=True), _exact_type(base)).cpu()
        merged = Merged(vocabulary=None, untied=parted_head(model))
        write_model(base, model, out, merged, wanted, generation=generation or {}, max_shard_size=max_shard_size)
        return merged
    mix = adapter if isinstance(adapter, AdapterMix) else AdapterMix(folders=(adapter,))
    model, merged = _merged_model(base, mix, wanted)
    tokenizer = None if merged.vocabulary is None else mix.folders[0]
    write_model(
        base, model, out, merged, wanted, generation=generation or {}, max_shard_size=max_shard_size, tokenizer=tokenizer
    )
    return merged


def write_model(
    base: BaseFolder,
    model: Any,
    out: Path,
    merged: Merged,
    precision: StoredType | None,
    *,
    generation: Mapping[str, Any],
    max_shard_size: str = "",
    tokenizer: Path | None = None,
) -> None:
    """Write a model that has the base's architecture as a folder like the base's own (see `merge`). `precision`: None keeps the
    base's type of each tensor. `tokenizer`: the folder that has another tokenizer than the base's."""
    names = {name for file in base.weights for name in safetensors_shapes(file)}
    tensors = _by_file_name(model, names, base, with_head=merged.untied)
    out.mkdir(parents=True, exist_ok=True)
    write_weights(base, out, tensors, precision, max_shard_size=max_shard_size)
    for file in base.other_files():
        shutil.copyfile(file, out / file.name)
    if tokenizer is not None:
        _take_tokenizer(tokenizer, out)
    (out / "config.json").write_text(config_text(base, precision, _changed(merged)), encoding="utf-8")
    chat = open_chat(base if tokenizer is None else replace(base, path=out))
    (out / "generation_config.json").write_text(generation_settings(base, chat.end_ids, generation), encoding="utf-8")


def share_as_summed(adapted: Any, merged: Any, types: Sequence[StoredType]) -> float:
    """Share of the elements of the adapted matrices that `merged` holds as base + update, made in float32 and rounded once.

    `merged` is the merged folder opened in float32, `types` are those in which it stores weights. Rounding hides a small fault
    (a scale that is off by a hundredth) from the logits, and not from this.
    """
    right, count = 0, 0
    for name, _, _, total in sums(adapted):
        there = merged.get_parameter(name).float()
        rounded = [there == total.to(getattr(torch, kind)).float() for kind in types]
        right += int(torch.stack(rounded).any(0).sum())
        count += total.numel()
    return right / max(1, count)


def _merged_model(base: BaseFolder, mix: AdapterMix, precision: StoredType | None) -> tuple[Any, Merged]:
    """The plain model that holds the sums, loaded in a type that holds every tensor of the base exactly."""
    exact = _exact_type(base)
    model = load_model(base, exact).cpu()
    vocabulary = resize_for(model, base, mix.folders[0]) if mix.is_plain else None
    adapted = open_mix(model, mix)
    for _, owner, key, total in sums(adapted, mix):  # a parameter of its own: a tied one would change in both places
        setattr(owner, key, torch.nn.Parameter(total.to(getattr(torch, precision or exact)), requires_grad=False))
    plain = adapted.unload()
    return plain, Merged(vocabulary=vocabulary, untied=parted_head(plain))


def _exact_type(base: BaseFolder) -> StoredType:
    """A type that holds every tensor of the base exactly."""
    types = set(stored_types(base.weights))
    return types.pop() if len(types) == 1 else "float32"


def _changed(merged: Merged) -> dict[str, Any]:
    """What config.json must say otherwise."""
    changed: dict[str, Any] = {} if merged.vocabulary is None else {"vocab_size": merged.vocabulary}
    return changed | ({"tie_word_embeddings": False} if merged.untied else {})


def _take_tokenizer(adapter: Path, out: Path) -> None:
    """Replace the base's tokenizer by the adapter's, whole: parts of both would not fit together."""
    folder = tokenizer_of(adapter)
    if folder is None:
        raise AssertionError("resize_for refuses an adapter without a tokenizer")
    for name in TOKENIZER_FILES:
        (out / name).unlink(missing_ok=True)
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)


def _by_file_name(model: Any, names: set[str], base: BaseFolder, *, with_head: bool) -> dict[str, torch.Tensor]:
    """The model's tensors under the names that the base's files give them. ModelError if one has no place there.

    `with_head`: the output head is stored too, where the base's files have none.
    """
    from transformers.core_model_loading import revert_weight_conversion

    prefix = f"{model.base_model_prefix}."
    placed, homeless = dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    for name, tensor in revert_weight_conversion(model, model.state_dict()).items():
        other = name.removeprefix(prefix) if name.startswith(prefix) else prefix + name
        known = name if name in names else other
        (placed if known in names else homeless)[known if known in names else name] = tensor
    held = {tensor.data_ptr() for tensor in placed.values()}
    lost = {name: tensor for name, tensor in homeless.items() if tensor.data_ptr() not in held}  # tied ones are stored once
    if with_head:
        head = model.get_output_embeddings().weight.data_ptr()
        placed |= {name: lost.pop(name) for name, tensor in list(lost.items()) if tensor.data_ptr() == head}
    if lost:
        raise ModelError(
            "a tensor of the model has no place in the base's files",
            value=next(iter(lost)),
            expected=f"the names that the files use, such as {min(names)}",
            hint=f"save the base once with transformers' save_pretrained and take that folder in place of {base.path}",
        )
    return placed
