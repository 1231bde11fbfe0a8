"""Adapters that change the embeddings: more tokens than the base has, trained rows, and heads that are no longer tied.

peft stores such embeddings whole, next to LoRA's own weights. A merged model then has what base and adapter had together: the
adapter's number of rows, its tokenizer, and an output head of its own where training has parted it from the embedding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.foreign_adapters import CONFIG, WEIGHTS
from tunesmith.models.load import BaseFolder, safetensors_shapes

__all__ = ["TOKENIZER_FILES", "parted_head", "resize_for", "tokenizer_of"]

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)


def resize_for(model: Any, base: BaseFolder, adapter: Path) -> int | None:
    """Give `model` as many rows of embeddings as the adapter was trained with; that number, or None if it stays.

    Raises ModelError for an adapter of a smaller vocabulary, one without the new rows of the head, or one without a tokenizer.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    names = {module: name for name, module in model.named_modules()}
    shapes = safetensors_shapes(adapter / WEIGHTS)
    rows = _rows(shapes, names[embedding])
    now = int(embedding.weight.shape[0])
    if rows is None or rows == now:
        return None
    if rows < now:
        raise _misfit(adapter, rows, f"at least {now} rows of embeddings", "use the base that the adapter was trained on")
    tied_by_peft = bool(_config(adapter).get("ensure_weight_tying"))
    if head is not None and _rows(shapes, names[head]) != rows and not tied_by_peft:
        hint = "save the adapter again with save_embedding_layers=True"
        raise _misfit(adapter, f"{rows - now} new tokens", "an adapter that also holds their rows of the output head", hint)
    if tokenizer_of(adapter) is None:
        hint = "save the tokenizer that it was trained with into its folder: tokenizer.save_pretrained(DIR)"
        raise _misfit(adapter, f"{rows - now} new tokens", "an adapter folder with tokenizer.json", hint)
    if "text_config" in base.config:
        hint = "merge it with the tool that trained it"
        raise _misfit(adapter, f"{rows - now} new tokens", "a base that holds a language model alone", hint)
    model.resize_token_embeddings(rows, mean_resizing=False)
    return rows


def tokenizer_of(adapter: Path) -> Path | None:
    """The adapter's folder if it carries a whole tokenizer, as folders of adapters that add tokens do."""
    return adapter if (adapter / "tokenizer.json").is_file() or (adapter / "tokenizer.model").is_file() else None


def parted_head(model: Any) -> bool:
    """Whether a model that declares a tied head has one that differs from its embedding; ties them where they are equal."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or not getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        return False
    if head.weight is embedding.weight:
        return False
    if head.weight.shape == embedding.weight.shape and torch.equal(head.weight, embedding.weight):
        head.weight = embedding.weight
        return False
    return True


def _rows(shapes: Mapping[str, tuple[str, tuple[int, ...]]], module: str) -> int | None:
    """The number of tokens that the adapter's tensors of this module (`model.embed_tokens`) are made for."""
    ends = {f"{module}.weight": 0, f"{module}.base_layer.weight": 0, f"{module}.lora_embedding_A": 1}
    ends |= {f"{module}.lora_B.weight": 0} if module.endswith("head") else {}
    for end, axis in ends.items():
        for name, (_, shape) in shapes.items():
            if f".{name}".endswith(f".{end}"):
                return shape[axis]
    return None


def _config(adapter: Path) -> dict[str, Any]:
    read = json.loads((adapter / CONFIG).read_bytes())
    return read if isinstance(read, dict) else {}


def _misfit(adapter: Path, value: object, expected: str, hint: str) -> ModelError:
    return ModelError(f"the adapter's vocabulary does not fit: {adapter}", value=value, expected=expected, hint=hint)
