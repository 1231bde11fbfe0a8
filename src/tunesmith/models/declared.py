"""What a form of a model says about itself: shape, rotary settings, context, control tokens, template, number types, adapter.

Read from config.json, tokenizer and adapter files, or from the header of a GGUF file. Nothing is guessed: None is not stated.
Two forms of one model must agree on all of it but the number type; where their answers differ, this says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.models.foreign_adapters import other_kind
from tunesmith.models.gguf_header import read_gguf_header
from tunesmith.models.load import BaseFolder, safetensors_shapes, stored_types
from tunesmith.models.older_readers import for_older_readers

__all__ = ["DeclaredAdapter", "DeclaredModel", "Rope", "declared_adapter", "declared_by_folder", "declared_by_gguf"]

_USUAL_THETA = 10_000.0
_TOKEN_KEYS = ("bos_token_id", "eos_token_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """Rotary settings: the base of the frequencies, and the kind and factor by which longer contexts are reached."""

    theta: float = _USUAL_THETA
    kind: str = "default"
    factor: float = 1.0

    @property
    def words(self) -> str:
        """For people."""
        return f"theta {self.theta:g}" + ("" if self.kind == "default" else f", {self.kind} scaling by {self.factor:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredAdapter:
    """What adapter_config.json says. `scale`: by what the product of its matrices is multiplied."""

    base: str
    rank: int
    alpha: float
    scale: float
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredModel:
    """`where`: the file or address, for people. `ends`: tokens that end an answer. `adds_bos`: whether the reader puts the
    token `bos` before every prompt. `quantised`: the method, empty for whole weights. `stored`: the type of most weights,
    or the mixture of types that a GGUF file names.
    `tensors`: names of the stored weights."""

    where: str
    architecture: str | None = None
    layers: int | None = None
    width: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    vocabulary: int | None = None
    tied: bool | None = None
    norm_eps: float | None = None
    rope: Rope | None = None
    context: int | None = None
    bos: int | None = None
    adds_bos: bool | None = None
    ends: frozenset[int] | None = None
    template: str | None = None
    stored: str | None = None
    quantised: str = ""
    adapter: DeclaredAdapter | None = None
    tensors: frozenset[str] = frozenset()


def declared_by_folder(folder: BaseFolder, ends: Sequence[int], template: str) -> DeclaredModel:
    """What a model folder declares. `ends` and `template`: as its chat format was opened (see `open_chat`)."""
    config = _text_part(folder.config)
    shapes = {name: shape for file in folder.weights for name, (_, shape) in safetensors_shapes(file).items()}
    return DeclaredModel(
        where=folder.name,
        architecture=_text_or_none(config.get("model_type")),
        layers=_int(config.get("num_hidden_layers")),
        width=_int(config.get("hidden_size")),
        heads=_int(config.get("num_attention_heads")),
        kv_heads=_int(config.get("num_key_value_heads", config.get("num_attention_heads"))),
        vocabulary=_rows_of_embedding(shapes) or _int(config.get("vocab_size")),
        tied=not any(name.endswith("lm_head.weight") for name in shapes),
        norm_eps=_float(config.get("rms_norm_eps", config.get("layer_norm_eps"))),
        rope=_rope(config),
        context=folder.context,
        bos=_int(config.get("bos_token_id")),
        adds_bos=False,  # prompts are encoded without further special tokens: what the template writes is all
        ends=frozenset(ends),
        template=template,
        stored=stored_types(folder.weights).most_common(1)[0][0],
        tensors=frozenset(shapes),
    )


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of the language model, where there is a further one for images."""
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, Mapping) else config


def _rows_of_embedding(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    found = [shape for name, shape in shapes.items() if name.endswith(("embed_tokens.weight", "wte.weight", "embed_in.weight"))]
    return found[0][0] if found else None


def _rope(config: Mapping[str, Any]) -> Rope:
    """As transformers 5 reads it: `rope_parameters` where there is one, else the older keys."""
    own = config.get("rope_parameters")
    inner = own if isinstance(own, Mapping) else {}
    inner = inner.get("full_attention", inner)
    older = for_older_readers(config)
    scaling = older.get("rope_scaling") or {}
    kind = inner.get("rope_type") or scaling.get("rope_type") or scaling.get("type") or "default"
    return Rope(
        theta=float(inner.get("rope_theta") or older.get("rope_theta") or _USUAL_THETA),
        kind=str(kind),
        factor=float(inner.get("factor") or scaling.get("factor") or 1.0),
    )


def declared_adapter(folder: Path) -> DeclaredAdapter:
    """What the adapter_config.json of a folder says. ModelError if it cannot be read."""
    file = folder / "adapter_config.json"
    try:
        config = dict(json.loads(file.read_bytes()))
        if (kind := config.get("peft_type", "LORA")) != "LORA":
            raise other_kind(kind)
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
        if rank < 1:
            raise ValueError(f"the rank is {rank}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            "the adapter's configuration cannot be read",
            value=str(file),
            expected=f"the rank `r` and `lora_alpha` ({error})",
            hint="copy the adapter again",
        ) from error
    is_rslora = bool(config.get("use_rslora"))
    kind = "dora" if config.get("use_dora") else "rslora" if is_rslora else "lora"
    scale = alpha / rank**0.5 if is_rslora else alpha / rank
    base = str(config.get("base_model_name_or_path") or "")
    return DeclaredAdapter(base=base, rank=rank, alpha=alpha, scale=scale, kind=kind)


def declared_by_gguf(path: Path) -> DeclaredModel:
    """What the header of a GGUF file declares. ModelError for a damaged file."""
    header = read_gguf_header(path)
    from gguf import GGUFReader, LlamaFileType

    written = _int(header.settings.get("general.file_type"))
    known = written is not None and written in {kind.value for kind in LlamaFileType}
    stored = LlamaFileType(written).name.split("_", 1)[1] if known else header.quantisation  # MOSTLY_Q4_K_M, ALL_F32
    names = frozenset(tensor.name for tensor in GGUFReader(path).tensors)
    own = {key.removeprefix(f"{header.architecture}."): value for key, value in header.settings.items()}
    token = {key: _int(own.get(f"tokenizer.ggml.{key}")) for key in _TOKEN_KEYS}
    ends = {token["eos_token_id"], _int(own.get("tokenizer.ggml.eot_token_id"))} - {None}
    whole = header.quantisation in {"F32", "F16", "BF16"}
    return DeclaredModel(
        where=path.name,
        architecture=header.architecture,
        layers=_int(own.get("block_count")),
        width=_int(own.get("embedding_length")),
        heads=_int(own.get("attention.head_count")),
        kv_heads=_int(own.get("attention.head_count_kv")),
        vocabulary=_int(own.get("vocab_size")),
        tied="output.weight" not in names,
        norm_eps=_float(own.get("attention.layer_norm_rms_epsilon", own.get("attention.layer_norm_epsilon"))),
        rope=Rope(
            theta=_float(own.get("rope.freq_base")) or _USUAL_THETA,
            kind=str(own.get("rope.scaling.type") or "default").replace("none", "default"),
            factor=_float(own.get("rope.scaling.factor")) or 1.0,
        ),
        context=_int(own.get("context_length")),
        bos=token["bos_token_id"],
        adds_bos=own.get("tokenizer.ggml.add_bos_token"),
        ends=frozenset(e for e in ends if e is not None),
        template=_text_or_none(own.get("tokenizer.chat_template")),
        stored=stored,
        quantised="" if whole else stored,
        tensors=names,
    )


def _int(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
