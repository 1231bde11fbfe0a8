"""One tiny random model of each architecture that the engine was tried on, and rows to try it with."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch

from tunesmith.models.chat import Encoded

__all__ = ["PACKED", "REFUSED", "make", "rows_alike"]

_SHAPE: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_MIXED = ["sliding_attention", "full_attention", "sliding_attention"]


def _model(name: str, config: str, **settings: Any) -> Callable[[], Any]:
    def build() -> Any:
        import transformers

        return getattr(transformers, name)(getattr(transformers, config)(**settings))

    return build


PACKED: dict[str, Callable[[], Any]] = {
    "Llama": _model("LlamaForCausalLM", "LlamaConfig", **_SHAPE),
    "Llama, tied embeddings (SmolLM, SmolLM2)": _model("LlamaForCausalLM", "LlamaConfig", **_SHAPE, tie_word_embeddings=True),
    "SmolLM3": _model("SmolLM3ForCausalLM", "SmolLM3Config", **_SHAPE),
    "Mistral, sliding window": _model("MistralForCausalLM", "MistralConfig", **_SHAPE, sliding_window=16),
    "Qwen2": _model("Qwen2ForCausalLM", "Qwen2Config", **_SHAPE),
    "Qwen3": _model("Qwen3ForCausalLM", "Qwen3Config", **_SHAPE, head_dim=8),
    "Qwen3 MoE": _model(
        "Qwen3MoeForCausalLM",
        "Qwen3MoeConfig",
        **_SHAPE,
        head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
    ),
    "Phi-3, fused projections": _model("Phi3ForCausalLM", "Phi3Config", **_SHAPE, original_max_position_embeddings=2048),
    "Gemma": _model("GemmaForCausalLM", "GemmaConfig", **_SHAPE, head_dim=8),
    "Gemma 2, capped scores and logits": _model(
        "Gemma2ForCausalLM", "Gemma2Config", **_SHAPE, head_dim=8, sliding_window=16, query_pre_attn_scalar=8
    ),
    "Gemma 3, sliding and full layers": _model(
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        **_SHAPE,
        head_dim=8,
        sliding_window=16,
        query_pre_attn_scalar=8,
        layer_types=_MIXED,
    ),
    "OLMo 2": _model("Olmo2ForCausalLM", "Olmo2Config", **_SHAPE),
    "Granite, scaled logits": _model("GraniteForCausalLM", "GraniteConfig", **_SHAPE, logits_scaling=4.0),
    "Cohere, scaled logits": _model("CohereForCausalLM", "CohereConfig", **_SHAPE, logit_scale=0.25),
    "GPT-NeoX (Pythia)": _model(
        "GPTNeoXForCausalLM", "GPTNeoXConfig", **{k: v for k, v in _SHAPE.items() if k != "num_key_value_heads"}
    ),
    "GPT-2": _model(
        "GPT2LMHeadModel",
        "GPT2Config",
        vocab_size=128,
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_positions=2048,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=1,
        eos_token_id=2,
    ),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "Falcon with ALiBi": _model(
        "FalconForCausalLM",
        "FalconConfig",
        vocab_size=128,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        alibi=True,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "Mamba": _model(
        "MambaForCausalLM",
        "MambaConfig",
        vocab_size=128,
        hidden_size=32,
        num_hidden_layers=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "LFM2, convolutions": _model("Lfm2ForCausalLM", "Lfm2Config", **_SHAPE, layer_types=["conv", "full_attention", "conv"]),
    "gpt-oss, attention sinks": _model(
        "GptOssForCausalLM",
        "GptOssConfig",
        **_SHAPE,
        head_dim=8,
        num_local_experts=4,
        num_experts_per_tok=2,
        layer_types=_MIXED,
    ),
}


def make(build: Callable[[], Any]) -> Any:
    """The model in evaluation mode, gradients off, with weights large enough that attention matters."""
    torch.manual_seed(0)
    model = build().eval().requires_grad_(False)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8.0)
    return model


def rows_alike(count: int = 6, *, shared: int = 20, longest: int = 40, seed: int = 0) -> list[Encoded]:
    """Rows with the same first `shared` tokens, then prompts and learned answers of unequal length."""
    draw = random.Random(seed)

    def some(least: int, most: int) -> list[int]:
        return [draw.randrange(3, 128) for _ in range(draw.randint(least, most))]

    beginning = [draw.randrange(3, 128) for _ in range(shared)]
    made = []
    for _ in range(count):
        prompt, answer = beginning + some(4, 20), some(3, longest)
        made.append(Encoded((*prompt, *answer), (False,) * len(prompt) + (True,) * len(answer)))
    return made
