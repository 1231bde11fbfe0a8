"""Every weight of a model, by name and shape, from its config alone: exact for the architectures listed in `FAMILIES`.

An architecture that is not listed is refused by name. Tests hold the names and shapes to those of transformers' own classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from tunesmith.core.errors import ModelError
from tunesmith.plan.model_config import ConfigFields
from tunesmith.plan.vision_tower import SIGLIP, siglip
from tunesmith.plan.weights import Anatomy, Kind, Norm, Weight

__all__ = ["FAMILIES", "Family", "anatomy_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One `model_type`. `defaults`: what the library's class takes for keys that published configs leave out; `tied`: whether
    head and embedding share their weights where the config does not say."""

    build: Callable[[ConfigFields, Family], Iterator[Weight]]
    tied: bool = False
    head_dim: int | None = None
    own_kv_heads: bool = False  # the class has a number of its own where the config has none: then it must be there
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    norm: Norm = "rms"
    qk_norm: Literal["", "head", "whole"] = ""
    biases: Mapping[str, bool | str] = field(default_factory=dict)  # part → always, never, or the key that says so
    window: Literal["", "all", "alternate", "pattern", "late"] = ""
    experts: bool = False
    gated: bool = True
    fused: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)


def anatomy_of(config: Mapping[str, Any]) -> Anatomy:
    """The weights and dimensions of the model that a config describes.

    Raises:
        ModelError: the architecture is not known, or the config lacks a value or has a wrong one.
    """
    name = config.get("model_type") or ("llama" if _OF_LLAMA_ALONE <= config.keys() <= _LLAMA_KEYS else None)
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise ModelError(
            "the architecture of this model is not known" if name else "the config does not say which architecture it is",
            value=name or "no model_type",
            expected=f"one of {', '.join(sorted(FAMILIES))}",
            hint="--params takes the config.json of a causal language model of one of these types; others are never guessed",
        )
    heads = config.get("architectures") or []
    if isinstance(heads, list) and heads and not any(_writes(str(one)) for one in heads):
        raise ModelError(
            "this model does not write text",
            value=str(heads[0]),
            expected="a causal language model (…ForCausalLM), whose head has one row per token",
            hint="use the config.json of the language model",
        )
    fields = ConfigFields(config, family.defaults)
    text, text_family = (fields, family) if name != "gemma3" else (_text_of(fields), FAMILIES["gemma3_text"])
    names = _GPT2_NAMES if name == "gpt2" else _NAMES
    layers, width = text.count(names["layers"]), text.count(names["width"])
    query_heads = text.count(names["heads"])
    moe = text.count("num_experts_per_tok") if family.experts else 0
    inner = text.count(names["inner"], otherwise=4 * width if name == "gpt2" else None)
    return Anatomy(
        model_type=str(name),
        weights=tuple(family.build(fields, family)),
        windows=_windows(text, text_family, layers),
        width=width,
        inner=moe * text.count("moe_intermediate_size", otherwise=inner) if moe else inner,
        heads=query_heads,
        kv_heads=_kv_heads(text, text_family, query_heads),
        head_dim=_head_dim(text, text_family, width, query_heads),
        vocabulary=text.count("vocab_size"),
        context=text.count(names["context"], otherwise=1) if text.get(names["context"]) else 0,
        norm=family.norm,
        gated=family.gated,
        fused=family.fused,
        experts_per_token=moe,
    )


_NAMES = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "context": "max_position_embeddings",
}
_GPT2_NAMES = {"layers": "n_layer", "width": "n_embd", "heads": "n_head", "inner": "n_inner", "context": "n_positions"}


# Some published configs of Llama 3.1 lack model_type. They hold these keys, of which two are of Llama alone, and no others.
_OF_LLAMA_ALONE = {"pretraining_tp", "mlp_bias"}
_LLAMA_KEYS = _OF_LLAMA_ALONE | {
    *(
        "_name_or_path",
        "attention_bias",
        "attention_dropout",
        "bos_token_id",
        "dtype",
        "eos_token_id",
        "head_dim",
        "hidden_act",
    ),
    *("hidden_size", "initializer_range", "intermediate_size", "max_position_embeddings", "num_attention_heads"),
    *("num_hidden_layers", "num_key_value_heads", "pad_token_id", "rms_norm_eps", "rope_scaling", "rope_theta"),
    *("tie_word_embeddings", "torch_dtype", "transformers_version", "use_cache", "vocab_size"),
}


def _writes(architecture: str) -> bool:
    return architecture.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration"))


def _text_of(fields: ConfigFields) -> ConfigFields:
    return fields.part("text_config", FAMILIES["gemma3_text"].defaults)


def _kv_heads(fields: ConfigFields, family: Family, heads: int) -> int:
    if family.own_kv_heads and "num_key_value_heads" not in {**fields.defaults, **fields.values}:
        return fields.count("num_key_value_heads")  # says that it is missing
    found = fields.count("num_key_value_heads", otherwise=heads)
    if heads % found:
        raise ModelError(
            "the attention heads cannot share the keys",
            value=f"num_attention_heads {heads}, num_key_value_heads {found}",
            expected="a number of heads that is a multiple of the number of key heads",
            hint="use the config.json that comes with the model",
        )
    return found


def _head_dim(fields: ConfigFields, family: Family, width: int, heads: int) -> int:
    if (found := fields.get("head_dim")) is not None or family.head_dim is not None:
        return fields.count("head_dim", otherwise=family.head_dim) if found is not None else int(family.head_dim or 0)
    if width % heads:
        raise ModelError(
            "the width cannot be split into the attention heads",
            value=f"hidden_size {width}, num_attention_heads {heads}",
            expected="a multiple of the number of heads, or a head_dim",
            hint="use the config.json that comes with the model",
        )
    return width // heads


def _windows(fields: ConfigFields, family: Family, layers: int) -> tuple[int, ...]:
    """Per layer the keys within reach, 0 for all of them."""
    if (
        not family.window
        or not (width := fields.get("sliding_window"))
        or not fields.flag("use_sliding_window", otherwise=True)
    ):
        return (0,) * layers
    width = fields.count("sliding_window")
    if family.window == "all":
        return (width,) * layers
    kinds = fields.names("layer_types", layers)
    if kinds is not None:
        return tuple(width if kind == "sliding_attention" else 0 for kind in kinds)
    if family.window == "late":
        first = fields.count("max_window_layers")
        return tuple(width if layer >= first else 0 for layer in range(layers))
    every = 2 if family.window == "alternate" else fields.count("sliding_window_pattern", otherwise=6)
    return tuple(width if (layer + 1) % every else 0 for layer in range(layers))


def _linear(
    name: str, out: int, into: int, kind: Kind, layer: int | None, *, bias: bool = False, turned: bool = False
) -> Iterator[Weight]:
    yield Weight(f"{name}.weight", (into, out) if turned else (out, into), kind, layer, turned=turned)
    if bias:
        yield Weight(f"{name}.bias", (out,), kind, layer)


def _norm(name: str, width: int, layer: int | None, *, bias: bool = False) -> Iterator[Weight]:
    yield Weight(f"{name}.weight", (width,), "norms", layer)
    if bias:
        yield Weight(f"{name}.bias", (width,), "norms", layer)


def _bias(fields: ConfigFields, family: Family, part: str) -> bool:
    says = family.biases.get(part, False)
    return says if isinstance(says, bool) else fields.flag(says)


def _decoder(fields: ConfigFields, family: Family, prefix: str = "model.", head: str = "lm_head") -> Iterator[Weight]:
    """The Llama pattern: embedding, blocks of attention and a gated MLP or experts, a norm, a head."""
    width, layers, vocabulary = fields.count("hidden_size"), fields.count("num_hidden_layers"), fields.count("vocab_size")
    yield Weight(f"{prefix}embed_tokens.weight", (vocabulary, width), "embedding")
    for layer in range(layers):
        block = f"{prefix}layers.{layer}"
        yield from _attention(fields, family, f"{block}.self_attn", layer)
        yield from (_mixture if _is_sparse(fields, family, layer) else _mlp)(fields, family, f"{block}.mlp", layer)
        for name in family.norms:
            yield from _norm(f"{block}.{name}", width, layer, bias=family.norm == "layer")
    yield from _norm(
        f"{prefix}{'final_layernorm' if family.norm == 'layer' else 'norm'}", width, None, bias=family.norm == "layer"
    )
    if not fields.flag("tie_word_embeddings", otherwise=family.tied):
        yield from _linear(head, vocabulary, width, "head", None)
    if _bias(fields, family, "head"):  # a head that shares its matrix still has a bias of its own
        yield Weight(f"{head}.bias", (vocabulary,), "head")


def _attention(fields: ConfigFields, family: Family, name: str, layer: int) -> Iterator[Weight]:
    width, heads = fields.count("hidden_size"), fields.count("num_attention_heads")
    dim = _head_dim(fields, family, width, heads)
    queries, keys = heads * dim, _kv_heads(fields, family, heads) * dim
    bias = _bias(fields, family, "qkv")
    parts = {"qkv_proj": queries + 2 * keys} if family.fused else {"q_proj": queries, "k_proj": keys, "v_proj": keys}
    for part, out in parts.items():
        yield from _linear(f"{name}.{part}", out, width, "attention", layer, bias=bias)
    output = "dense" if family.norm == "layer" else "o_proj"
    yield from _linear(f"{name}.{output}", width, queries, "attention", layer, bias=_bias(fields, family, "output"))
    if family.qk_norm == "head":
        yield from _norm(f"{name}.q_norm", dim, layer)
        yield from _norm(f"{name}.k_norm", dim, layer)
    elif family.qk_norm == "whole":
        yield from _norm(f"{name}.q_norm", queries, layer)
        yield from _norm(f"{name}.k_norm", keys, layer)
    elif family.norm == "layer" and fields.flag("qk_layernorm"):
        yield from _norm(f"{name}.q_layernorm", dim, layer, bias=True)
        yield from _norm(f"{name}.k_layernorm", dim, layer, bias=True)


def _mlp(fields: ConfigFields, family: Family, name: str, layer: int) -> Iterator[Weight]:
    width, inner, bias = fields.count("hidden_size"), fields.count("intermediate_size"), _bias(fields, family, "mlp")
    first = {"gate_up_proj": 2 * inner} if family.fused else {"gate_proj": inner, "up_proj": inner}
    if not family.gated:
        first = {"fc1": inner}
    for part, out in first.items():
        yield from _linear(f"{name}.{part}", out, width, "mlp", layer, bias=bias)
    yield from _linear(f"{name}.{'down_proj' if family.gated else 'fc2'}", width, inner, "mlp", layer, bias=bias)


def _is_sparse(fields: ConfigFields, family: Family, layer: int) -> bool:
    dense = fields.get("mlp_only_layers") or []
    return family.experts and layer not in dense and (layer + 1) % fields.count("decoder_sparse_step", otherwise=1) == 0


def _mixture(fields: ConfigFields, family: Family, name: str, layer: int) -> Iterator[Weight]:
    width = fields.count("hidden_size")
    experts = fields.count("num_local_experts" if "num_local_experts" in fields.values else "num_experts")
    inner = fields.count("moe_intermediate_size" if "moe_intermediate_size" in fields.values else "intermediate_size")
    used = min(1.0, fields.count("num_experts_per_tok") / experts)
    yield Weight(f"{name}.gate.weight", (experts, width), "router", layer)
    yield Weight(f"{name}.experts.gate_up_proj", (experts, 2 * inner, width), "experts", layer, used)
    yield Weight(f"{name}.experts.down_proj", (experts, width, inner), "experts", layer, used)


def _gpt2(fields: ConfigFields, family: Family) -> Iterator[Weight]:
    width, layers, vocabulary = fields.count("n_embd"), fields.count("n_layer"), fields.count("vocab_size")
    inner = fields.count("n_inner", otherwise=4 * width)
    yield Weight("transformer.wte.weight", (vocabulary, width), "embedding")
    yield Weight("transformer.wpe.weight", (fields.count("n_positions"), width), "embedding")
    for layer in range(layers):
        block = f"transformer.h.{layer}"
        yield from _norm(f"{block}.ln_1", width, layer, bias=True)
        yield from _linear(f"{block}.attn.c_attn", 3 * width, width, "attention", layer, bias=True, turned=True)
        yield from _linear(f"{block}.attn.c_proj", width, width, "attention", layer, bias=True, turned=True)
        yield from _norm(f"{block}.ln_2", width, layer, bias=True)
        yield from _linear(f"{block}.mlp.c_fc", inner, width, "mlp", layer, bias=True, turned=True)
        yield from _linear(f"{block}.mlp.c_proj", width, inner, "mlp", layer, bias=True, turned=True)
    yield from _norm("transformer.ln_f", width, None, bias=True)
    if not fields.flag("tie_word_embeddings", otherwise=family.tied):
        yield from _linear("lm_head", vocabulary, width, "head", None)


def _gpt_neox(fields: ConfigFields, family: Family) -> Iterator[Weight]:
    width, inner = fields.count("hidden_size"), fields.count("intermediate_size")
    vocabulary, bias = fields.count("vocab_size"), fields.flag("attention_bias", otherwise=True)
    yield Weight("gpt_neox.embed_in.weight", (vocabulary, width), "embedding")
    for layer in range(fields.count("num_hidden_layers")):
        block = f"gpt_neox.layers.{layer}"
        for name in family.norms:
            yield from _norm(f"{block}.{name}", width, layer, bias=True)
        yield from _linear(f"{block}.attention.query_key_value", 3 * width, width, "attention", layer, bias=bias)
        yield from _linear(f"{block}.attention.dense", width, width, "attention", layer, bias=bias)
        yield from _linear(f"{block}.mlp.dense_h_to_4h", inner, width, "mlp", layer, bias=True)
        yield from _linear(f"{block}.mlp.dense_4h_to_h", width, inner, "mlp", layer, bias=True)
    yield from _norm("gpt_neox.final_layer_norm", width, None, bias=True)
    if not fields.flag("tie_word_embeddings", otherwise=family.tied):
        yield from _linear("lm_head", vocabulary, width, "head", None)


def _gemma3(fields: ConfigFields, family: Family) -> Iterator[Weight]:
    """Gemma 3 with its SigLIP tower and the projector between them."""
    text, vision = _text_of(fields), fields.part("vision_config", family.defaults)
    tied = replace(FAMILIES["gemma3_text"], tied=fields.flag("tie_word_embeddings", otherwise=True))
    yield from _decoder(text, tied, "model.language_model.")
    yield from siglip(vision, "model.vision_tower")
    width = vision.count("hidden_size")
    yield Weight("model.multi_modal_projector.mm_input_projection_weight", (width, text.count("hidden_size")), "vision")
    yield Weight("model.multi_modal_projector.mm_soft_emb_norm.weight", (width,), "vision")


_QUERIES_ONLY: Mapping[str, bool | str] = {"qkv": True}
_BY_ATTENTION_BIAS: Mapping[str, bool | str] = {"qkv": "attention_bias", "output": "attention_bias"}
_BY_BOTH: Mapping[str, bool | str] = {**_BY_ATTENTION_BIAS, "mlp": "mlp_bias"}
_FOUR_NORMS = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
_GEMMA3_TEXT = {
    "vocab_size": 262208,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "sliding_window": 4096,
    "max_position_embeddings": 131072,
}
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "llama": Family(build=_decoder, biases=_BY_BOTH),
        "mistral": Family(build=_decoder, own_kv_heads=True, window="all", defaults={"sliding_window": 4096}),
        "mixtral": Family(build=_decoder, own_kv_heads=True, window="all", experts=True),
        "qwen2": Family(
            build=_decoder,
            own_kv_heads=True,
            biases=_QUERIES_ONLY,
            window="late",
            defaults={"sliding_window": 4096, "use_sliding_window": False, "max_window_layers": 28},
        ),
        "qwen3": Family(
            build=_decoder,
            own_kv_heads=True,
            head_dim=128,
            qk_norm="head",
            biases=_BY_ATTENTION_BIAS,
            window="late",
            defaults={"sliding_window": 4096, "use_sliding_window": False, "max_window_layers": 28},
        ),
        "qwen3_moe": Family(
            build=_decoder,
            own_kv_heads=True,
            qk_norm="head",
            biases=_BY_ATTENTION_BIAS,
            window="all",
            experts=True,
            defaults={"sliding_window": 4096, "use_sliding_window": False, "decoder_sparse_step": 1},
        ),
        "olmoe": Family(build=_decoder, qk_norm="whole", biases=_BY_ATTENTION_BIAS, experts=True),
        "olmo2": Family(
            build=_decoder,
            qk_norm="whole",
            biases=_BY_ATTENTION_BIAS,
            norms=("post_attention_layernorm", "post_feedforward_layernorm"),
            norm="rms_float32",
        ),
        "granite": Family(build=_decoder, biases=_BY_BOTH),
        "smollm3": Family(
            build=_decoder,
            own_kv_heads=True,
            tied=True,
            biases=_BY_BOTH,
            window="pattern",
            defaults={"use_sliding_window": False},
        ),
        "gemma": Family(
            build=_decoder, own_kv_heads=True, tied=True, head_dim=256, biases=_BY_ATTENTION_BIAS, norm="rms_float32"
        ),
        "gemma2": Family(
            build=_decoder,
            own_kv_heads=True,
            tied=True,
            head_dim=256,
            biases=_BY_ATTENTION_BIAS,
            norms=_FOUR_NORMS,
            norm="rms_float32",
            window="alternate",
            defaults={"sliding_window": 4096},
        ),
        "gemma3_text": Family(
            build=_decoder,
            own_kv_heads=True,
            tied=True,
            head_dim=256,
            qk_norm="head",
            biases=_BY_ATTENTION_BIAS,
            norms=_FOUR_NORMS,
            norm="rms_float32",
            window="pattern",
            defaults=_GEMMA3_TEXT,
        ),
        "gemma3": Family(build=_gemma3, norm="rms_float32", defaults=SIGLIP),
        "phi": Family(
            build=_decoder,
            biases={"qkv": True, "output": True, "mlp": True, "head": True},
            norms=("input_layernorm",),
            norm="layer",
            gated=False,
        ),
        "phi3": Family(build=_decoder, fused=True, window="all"),
        "gpt2": Family(build=_gpt2, tied=True, norm="layer", gated=False),
        "gpt_neox": Family(build=_gpt_neox, norm="layer", gated=False),
    }
)
