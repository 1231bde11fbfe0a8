"""The weight files of a merged model: the base's own files and names, or files of a given size, with their index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.load import BaseFolder, StoredType, safetensors_shapes

__all__ = ["INDEX", "check_precision", "check_size", "write_weights"]

INDEX = "model.safetensors.index.json"


def check_precision(precision: str) -> None:
    """ModelError for a type in which weights are never stored."""
    known = ("auto", *get_args(StoredType))
    if precision not in known:
        raise ModelError(
            "unknown type of weights", value=precision, expected=f"one of {', '.join(known)}", hint="--precision auto"
        )


def check_size(size: str) -> None:
    """ModelError for a size of files that is no number with a unit; empty is the base's own split."""
    from huggingface_hub.serialization._base import parse_size_to_int

    try:
        if not size or parse_size_to_int(size) > 0:
            return
        reason = "it is not above 0"
    except ValueError as error:
        reason = str(error)
    raise ModelError(
        "the size of the weight files cannot be understood",
        value=size,
        expected=f"a number with KB, MB, GB or TB ({reason})",
        hint="--shard-size 2GB",
    )


def write_weights(
    base: BaseFolder, out: Path, tensors: Mapping[str, torch.Tensor], precision: StoredType | None, *, max_shard_size: str = ""
) -> None:
    """Write the base's tensors to `out`, with what `tensors` holds in their place; further ones go to the end.

    Files and index are the base's own, unless `max_shard_size` (`2GB`) asks for others. A tensor larger than that has a file of
    its own. Only one file's tensors are copied at a time. ModelError for a tensor that does not fit its place or its type.
    """
    places = _places(base)
    added = [name for name in tensors if name not in places]
    if max_shard_size:
        layout = _split([*places, *added], places, tensors, precision, max_shard_size)
    else:
        layout = {file.name: [name for name, place in places.items() if place == file] for file in base.weights}
        layout[base.weights[-1].name] += added
    total = sum(_write_file(out / file, names, places, tensors, precision) for file, names in layout.items())
    if len(layout) > 1 and (max_shard_size or (base.path / INDEX).is_file()):
        (out / INDEX).write_text(_index_text(base, layout, total), encoding="utf-8")


def _places(base: BaseFolder) -> dict[str, Path]:
    """Tensor → the base's file that holds it."""
    return {name: file for file in base.weights for name in safetensors_shapes(file)}


def _split(
    names: Sequence[str],
    places: Mapping[str, Path],
    tensors: Mapping[str, torch.Tensor],
    precision: StoredType | None,
    size: str,
) -> dict[str, list[str]]:
    """Files of at most `size` by huggingface_hub's own rule, with the names that it gives them."""
    from huggingface_hub import split_state_dict_into_shards_factory

    with ExitStack() as opened:
        reader = _Reader(opened, places)
        sizes: dict[str, Any] = {name: _bytes(reader.own(name, tensors), tensors.get(name), precision) for name in names}
    made = split_state_dict_into_shards_factory(
        sizes, get_storage_size=lambda count: count, filename_pattern="model{suffix}.safetensors", max_shard_size=size
    )
    return dict(made.filename_to_tensors)


def _bytes(own: torch.Tensor, total: torch.Tensor | None, precision: StoredType | None) -> int:
    """Bytes of a tensor as it will be stored."""
    kind = own.dtype if precision is None or not _is_weight(own) else getattr(torch, precision)
    return (own if total is None else total).numel() * kind.itemsize


class _Reader:
    """Tensors of the base by their names, each file opened once."""

    def __init__(self, opened: ExitStack, places: Mapping[str, Path]) -> None:
        self._opened, self._places, self._files = opened, places, dict[Path, Any]()

    def file(self, place: Path) -> Any:
        """The open file."""
        from safetensors import safe_open

        if place not in self._files:
            self._files[place] = self._opened.enter_context(safe_open(place, "pt"))
        return self._files[place]

    def own(self, name: str, added: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The base's tensor, or the one that has no place there."""
        return self.file(self._places[name]).get_tensor(name) if name in self._places else added[name]


def _write_file(
    out: Path,
    names: Sequence[str],
    places: Mapping[str, Path],
    tensors: Mapping[str, torch.Tensor],
    precision: StoredType | None,
) -> int:
    """Write one file; the bytes of its tensors."""
    from safetensors.torch import save_file

    with ExitStack() as opened:
        reader = _Reader(opened, places)
        owns = {name: reader.own(name, tensors) for name in names}
        stored = {name: _stored(name, own, tensors.get(name, own), precision) for name, own in owns.items()}
        source = next((places[name] for name in names if name in places), None)
        save_file(stored, out, metadata={"format": "pt"} if source is None else reader.file(source).metadata())
    return sum(tensor.numel() * tensor.element_size() for tensor in stored.values())


def _is_weight(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and tensor.element_size() > 1


def _stored(name: str, own: torch.Tensor, total: torch.Tensor, precision: StoredType | None) -> torch.Tensor:
    if not _is_weight(own):
        return own
    kind = own.dtype if precision is None else getattr(torch, precision)
    if total.shape != own.shape and (total.dim() != own.dim() or total.shape[1:] != own.shape[1:] or len(total) < len(own)):
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


def _index_text(base: BaseFolder, layout: Mapping[str, Sequence[str]], total_bytes: int) -> str:
    """The base's index, byte for byte where files and total are its own."""
    weight_map = {name: file for file, names in layout.items() for name in names}
    before: dict[str, Any] = {}
    if (base.path / INDEX).is_file():
        text = (base.path / INDEX).read_text(encoding="utf-8")
        before = json.loads(text)
        same_size = before.get("metadata", {}).get("total_size") in {None, total_bytes}
        if before.get("weight_map") == weight_map and same_size:
            return text
        if before.get("weight_map") == weight_map:
            weight_map = before["weight_map"]  # in its own order
    metadata = {**before.get("metadata", {}), "total_size": total_bytes}
    return json.dumps({**before, "metadata": metadata, "weight_map": weight_map}, indent=2) + "\n"
