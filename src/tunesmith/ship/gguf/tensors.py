"""The weights of a model folder under their GGUF names and in llama.cpp's order, one at a time in float32."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import get_tensor_name_map

from tunesmith.core.errors import ModelError
from tunesmith.models.load import BaseFolder, safetensors_shapes
from tunesmith.ship.gguf.architectures import Architecture

__all__ = ["FolderTensor", "folder_tensors", "rows_in_pairs"]

Floats = np.ndarray[Any, np.dtype[np.float32]]
_HEAD = "output.weight"
_EMBEDDING = "token_embd.weight"
_BUFFERS = (".rotary_emb.inv_freq", ".masked_bias")
_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")


@dataclass(frozen=True, slots=True)
class FolderTensor:
    """A tensor of the folder: `name` in GGUF, `own` in the file of transformers."""

    name: str
    own: str
    file: Path
    shape: tuple[int, ...]
    kind: Architecture
    heads: int  # by which rows are put in pairs, 0: as they are

    def read(self) -> Floats:
        """The weights as llama.cpp wants them. ModelError if one is not a number."""
        from safetensors import safe_open

        with safe_open(self.file, "pt") as opened:
            values: Floats = opened.get_tensor(self.own).float().numpy()
        if not np.isfinite(values).all():
            raise ModelError(
                "a weight is not a finite number",
                value=self.own,
                expected="numbers in every tensor",
                hint="train again with a lower train.learning_rate",
            )
        if self.heads:
            values = rows_in_pairs(values, self.heads)
        if self.kind.norm_offset and self.name.endswith("norm.weight"):
            values = values + np.float32(self.kind.norm_offset)
        return values


def rows_in_pairs(values: Floats, heads: int) -> Floats:
    """The rows of a query or key matrix so that the two channels which are rotated together are neighbours.

    transformers rotates channel i of a head with channel i + D/2, llama.cpp channel 2i with 2i + 1.
    """
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def folder_tensors(folder: BaseFolder, kind: Architecture, config: Any) -> list[FolderTensor]:
    """All tensors of the model, the embedding first. A tied head is left out, as llama.cpp then takes the embedding.

    ModelError if a tensor is not known for this architecture, or if some are missing.
    """
    found = sorted(_named(folder, kind, config), key=_place)
    names = {tensor.name for tensor in found}
    wanted = {_EMBEDDING, "output_norm.weight"} | (set() if config.tie_word_embeddings else {_HEAD})
    layers = Counter(match[2] for name in names if (match := _BLOCK.fullmatch(name)))
    short = [f"{name} of some layers" for name, count in layers.items() if count != config.num_hidden_layers]
    if missing := [*sorted(wanted - names), *short] or ([] if layers else ["all layers"]):
        raise ModelError(
            "weights of the model are missing",
            value=", ".join(missing[:3]),
            expected=f"all tensors of {config.num_hidden_layers} layers",
            hint="copy the folder again, or merge again",
        )
    declared = (config.vocab_size, config.hidden_size)
    if found[0].shape != declared:
        raise ModelError(
            "the configuration declares another size than the weights have",
            value=f"vocabulary and width {declared}, embedding {tuple(found[0].shape)}",
            expected="the config.json that belongs to these weights",
            hint="copy the folder again, or merge again",
        )
    return found


def _named(folder: BaseFolder, kind: Architecture, config: Any) -> Iterator[FolderTensor]:
    names = get_tensor_name_map(kind.arch, config.num_hidden_layers)
    for file in folder.weights:
        for own, (_, shape) in safetensors_shapes(file).items():
            if own.endswith(_BUFFERS):
                continue
            name = names.get_name(own, try_suffixes=(".weight", ".bias"))
            if name is None:
                raise ModelError(
                    "a tensor of the model has no place in a GGUF file",
                    value=own,
                    expected=f"the tensors of {kind.arch.name.lower()}",
                    hint="ship the merged folder instead: --to merged",
                )
            if name == _HEAD and config.tie_word_embeddings:
                continue
            heads = 0
            if kind.rotates_pairs and ".attn_q." in name:
                heads = config.num_attention_heads
            elif kind.rotates_pairs and ".attn_k." in name:
                heads = config.num_key_value_heads
            yield FolderTensor(name, own, file, shape, kind, heads)


def _place(tensor: FolderTensor) -> tuple[int, int, str]:
    """Embedding, layers in their order, the rest."""
    match = _BLOCK.fullmatch(tensor.name)
    return (1, int(match[1]), match[2]) if match else (0 if tensor.name == _EMBEDDING else 2, 0, tensor.name)
