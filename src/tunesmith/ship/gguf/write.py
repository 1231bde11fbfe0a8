"""A model folder as one GGUF file, whole or quantised, as llama.cpp and Ollama open it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gguf import (
    GGML_QUANT_VERSION,
    MODEL_ARCH,
    MODEL_ARCH_NAMES,
    GGMLQuantizationType,
    GGUFType,
    GGUFWriter,
    size_label,
)
from gguf.quants import quantize

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message
from tunesmith.models.chat import open_chat
from tunesmith.models.load import BaseFolder, load_tokenizer
from tunesmith.models.settings import declared_ends
from tunesmith.ship.gguf.architectures import Architecture, add_sizes, architecture, configuration, head_dim
from tunesmith.ship.gguf.endings import add_special_tokens
from tunesmith.ship.gguf.file import GgufFile, PlannedTensor, check_target, write_file
from tunesmith.ship.gguf.ggml import rounded
from tunesmith.ship.gguf.importance import Importance, read_importance
from tunesmith.ship.gguf.quants import QUANTS, Depth, QuantName, stored_type
from tunesmith.ship.gguf.rope import rope_factors
from tunesmith.ship.gguf.tensors import FolderTensor, folder_tensors
from tunesmith.ship.gguf.vocabulary import Vocabulary, vocabulary

__all__ = ["Facts", "write_gguf"]

_PHI3 = "phi-3"
_BEYOND_FLOAT16 = 65_520.0  # from here on, rounding gives infinity
_OWN = {  # types that the gguf package writes, with the same bytes
    GGMLQuantizationType.F32,
    GGMLQuantizationType.F16,
    GGMLQuantizationType.BF16,
    GGMLQuantizationType.Q8_0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a GGUF file says about itself. `bases`: (name, URL) of the models it was made from; `settings`: further keys."""

    name: str
    author: str = ""
    licence: str = ""
    description: str = ""
    bases: Sequence[tuple[str, str]] = ()
    tags: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def write_gguf(
    folder: BaseFolder, out: Path, *, quant: QuantName, facts: Facts | None = None, importance: Path | None = None
) -> GgufFile:
    """Write the model of `folder` with tokenizer, template and settings to the file `out`, whole or not at all.

    `quant`: how matrices are stored; norms, biases and rotary factors stay in float32. Everything is rounded once, from the
    folder's own weights. `importance`: a file of `write_importance`, by which rounding to blocks weighs the columns.

    Raises ModelError for an architecture, tokenizer or setting that llama.cpp would run as another model, for weights that are
    missing, for numbers beyond float16, and where llama.cpp's library is needed and missing; StorageError if there is no room
    or `out` is not a plain name.
    """
    check_target(out)
    kind = architecture(folder.config)
    config = configuration(folder)
    tokenizer = load_tokenizer(folder)
    tensors = folder_tensors(folder, kind, config)
    writer = GGUFWriter(None, MODEL_ARCH_NAMES[kind.arch])
    writer.add_type(GGUFType.MODEL)
    opens_with_token, end_ids = _chat_facts(folder, tokenizer)
    words = vocabulary(_spec(tokenizer), tensors[0].shape[0], chat_opens_with_token=opens_with_token)
    num_parameters = sum(math.prod(tensor.shape) for tensor in tensors)
    _add_facts(writer, facts or Facts(name=Path(folder.name).name), kind, words, num_parameters)
    notes = add_sizes(writer, kind, config)
    writer.add_file_type(QUANTS[quant].file_type)
    writer.add_quantization_version(GGML_QUANT_VERSION)
    _add_vocabulary(writer, words)
    stops = add_special_tokens(writer, folder, tokenizer, end_ids)
    if tokenizer.chat_template:
        _add_template(writer, tokenizer.chat_template)
    weights = _importance(writer, quant, importance)
    depth = _depth(kind, config, has_importance=bool(weights))
    planned, fallbacks = list[PlannedTensor](), list[str]()
    for tensor in tensors:
        stored, is_fallback = stored_type(tensor.name, tensor.shape, QUANTS[quant], depth)
        planned.append(
            PlannedTensor(tensor.name, tensor.shape, stored, partial(_data, tensor, stored, weights.get(tensor.name)))
        )
        fallbacks += [tensor.name] if is_fallback else []
    for name, factors in rope_factors(config, head_dim=head_dim(config)).items():
        planned.append(PlannedTensor(name, factors.shape, GGMLQuantizationType.F32, partial(np.asarray, factors)))
    return write_file(writer, planned, out, fallbacks=fallbacks, differences=(*words.differences, *stops, *notes))


def _spec(tokenizer: Any) -> dict[str, Any]:
    """The content of a tokenizer.json that does what the opened tokenizer does."""
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            "the model has no fast tokenizer",
            value=type(tokenizer).__name__,
            expected="a tokenizer.json",
            hint="convert the tokenizer with transformers first",
        )
    found: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return found


def _chat_facts(folder: BaseFolder, tokenizer: Any) -> tuple[bool, tuple[int, ...]]:
    """Whether chat prompts begin with a control token, and all tokens at which an answer ends."""
    if tokenizer.chat_template:
        chat = open_chat(folder)
        first = chat.encode_prompt([Message(role="user", content="a")])[0]
        return first in tokenizer.added_tokens_decoder, chat.end_ids
    settings = folder.path / "generation_config.json"
    declared = declared_ends(json.loads(settings.read_bytes()) if settings.is_file() else folder.config)
    own = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    return False, tuple(dict.fromkeys([*own, *sorted(declared)]))


def _add_facts(writer: GGUFWriter, facts: Facts, kind: Architecture, words: Vocabulary, num_parameters: int) -> None:
    writer.add_name(_engine_name(facts.name, kind, words))
    for text, add in (
        (facts.author, writer.add_author),
        (facts.licence, writer.add_license),
        (facts.description, writer.add_description),
    ):
        if text:
            add(text)
    writer.add_size_label(size_label(num_parameters, num_parameters, 0, 0))
    if facts.bases:
        writer.add_base_model_count(len(facts.bases))
    for place, (name, url) in enumerate(facts.bases):
        writer.add_base_model_name(place, name)
        if url:
            writer.add_base_model_repo_url(place, url)
    if facts.tags:
        writer.add_tags(list(facts.tags))
    for key, value in facts.settings.items():
        writer.add_string(key, value)


def _engine_name(name: str, kind: Architecture, words: Vocabulary) -> str:
    """The name as llama.cpp must see it: only by `phi-3` in it does it know that spaces after control tokens are dropped."""
    plain = name.lower()
    if kind.is_phi3 and words.model == "llama":
        return name if _PHI3 in plain or "phi3" in plain else f"{name} (Phi-3)"
    return name.replace("-3", " 3").replace("hi3", "hi 3") if _PHI3 in plain or "phi3" in plain else name


def _add_vocabulary(writer: GGUFWriter, words: Vocabulary) -> None:
    writer.add_tokenizer_model(words.model)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(list(words.tokens))
    writer.add_token_types(list(words.kinds))
    if words.scores:
        writer.add_token_scores(list(words.scores))
    if words.merges:
        writer.add_token_merges(list(words.merges))
    if words.space_prefix is not None:
        writer.add_add_space_prefix(words.space_prefix)


def _add_template(writer: GGUFWriter, template: str | Mapping[str, str]) -> None:
    """The folder's own template, byte for byte; of several, the one named default is the one that is used."""
    if isinstance(template, str):
        writer.add_chat_template(template)
    else:
        writer.add_chat_template([{"name": name, "template": text} for name, text in template.items()])


def _importance(writer: GGUFWriter, quant: QuantName, file: Path | None) -> Importance:
    """The importance of columns, where rounding asks for it; the file says that it was used, under llama.cpp's own keys."""
    if file is None or QUANTS[quant].is_uniform:
        return {}
    found = read_importance(file)
    writer.add_string("quantize.imatrix.file", file.name)
    writer.add_uint32("quantize.imatrix.entries_count", len(found))
    return found


def _depth(kind: Architecture, config: Any, *, has_importance: bool) -> Depth:
    heads, shared = config.num_attention_heads, config.num_key_value_heads
    is_70b = config.num_hidden_layers == 80 and (
        kind.arch == MODEL_ARCH.QWEN2 or (kind.arch == MODEL_ARCH.LLAMA and heads != shared)
    )
    return Depth(config.num_hidden_layers, heads // shared, bool(config.tie_word_embeddings), is_70b, has_importance)


def _data(tensor: FolderTensor, kind: GGMLQuantizationType, importance: Any) -> np.ndarray[Any, Any]:
    """The bytes of a tensor in its type."""
    values = tensor.read()
    if kind == GGMLQuantizationType.F16 and not (np.abs(values) < _BEYOND_FLOAT16).all():
        raise ModelError(
            "a weight does not fit into float16",
            value=tensor.own,
            expected="numbers up to 65,504",
            hint="export in bfloat16 instead: --quant bf16",
        )
    if kind in _OWN:
        return np.asarray(quantize(values, kind))
    return rounded(values, kind, importance)
