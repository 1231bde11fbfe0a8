"""One tiny random model of each architecture that the engine was tried on, and rows to try it with."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch

from tunesmith.models.chat import Encoded

__all__ = ["PACKED", "REFUSED", "SEEING", "make", "rows_alike"]

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


_DENSE_AND_EXPERTS: dict[str, Any] = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
}
_DEEPSEEK = _DENSE_AND_EXPERTS | {
    "num_key_value_heads": 4,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "n_group": 2,
    "topk_group": 1,
}
_DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "head_dim": 8,
}
_MAMBA_2 = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8}
_TEXT = {key: value for key, value in _SHAPE.items() if not key.endswith("token_id")}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_QWEN_VISION = {"depth": 2, "num_heads": 2, "patch_size": 14}
_ROPE = {"rope_type": "default", "rope_theta": 10000.0}


def _seeing(name: str, text: str, vision: str, **settings: Any) -> Callable[[], Any]:
    """A model that sees, made of a language model's configuration and a tower's."""

    def build() -> Any:
        import transformers

        parts = {"text_config": getattr(transformers, text)(**_TEXT), "vision_config": getattr(transformers, vision)(**_VISION)}
        config = getattr(transformers, name.replace("ForConditionalGeneration", "Config"))(**parts, **settings)
        return getattr(transformers, name)(config)

    return build


SEEING: dict[str, Callable[[], Any]] = {
    "Gemma 3 with vision": _seeing(
        "Gemma3ForConditionalGeneration", "Gemma3TextConfig", "SiglipVisionConfig", mm_tokens_per_image=4
    ),
    "LLaVA": _seeing("LlavaForConditionalGeneration", "LlamaConfig", "CLIPVisionConfig"),
    "Mistral 3": _seeing("Mistral3ForConditionalGeneration", "MistralConfig", "PixtralVisionConfig"),
    "SmolVLM": _seeing("SmolVLMForConditionalGeneration", "LlamaConfig", "SmolVLMVisionConfig", scale_factor=1),
    "Qwen2-VL": _model(
        "Qwen2VLForConditionalGeneration",
        "Qwen2VLConfig",
        text_config={**_TEXT, "rope_parameters": {**_ROPE, "mrope_section": [1, 1, 2]}},
        vision_config={**_QWEN_VISION, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2},
    ),
}
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
    "Mixtral": _model("MixtralForCausalLM", "MixtralConfig", **_SHAPE, num_local_experts=4, num_experts_per_tok=2),
    "OLMoE": _model("OlmoeForCausalLM", "OlmoeConfig", **_SHAPE, num_experts=4, num_experts_per_tok=2),
    "Granite MoE": _model("GraniteMoeForCausalLM", "GraniteMoeConfig", **_SHAPE, num_local_experts=4, num_experts_per_tok=2),
    "DeepSeek V3": _model("DeepseekV3ForCausalLM", "DeepseekV3Config", **_SHAPE | _DEEPSEEK),
    "GLM-4 MoE": _model("Glm4MoeForCausalLM", "Glm4MoeConfig", **_SHAPE, **_DENSE_AND_EXPERTS, head_dim=8),
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
    "Falcon-H1": _model(
        "FalconH1ForCausalLM", "FalconH1Config", **_SHAPE, **_MAMBA_2, mamba_d_ssm=64, mamba_n_groups=1, head_dim=8
    ),
    "Granite MoE hybrid": _model(
        "GraniteMoeHybridForCausalLM",
        "GraniteMoeHybridConfig",
        **_SHAPE,
        **_MAMBA_2,
        mamba_expand=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        shared_intermediate_size=32,
        layer_types=["mamba", "attention", "mamba"],
    ),
    "Qwen3-Next": _model(
        "Qwen3NextForCausalLM",
        "Qwen3NextConfig",
        **_SHAPE,
        **_DELTA,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
    ),
    "Qwen3.5 with vision": _model(
        "Qwen3_5ForConditionalGeneration",
        "Qwen3_5Config",
        text_config={
            **_TEXT,
            **_DELTA,
            "rope_parameters": {**_ROPE, "mrope_section": [1, 0, 0], "partial_rotary_factor": 0.25},
        },
        vision_config={**_QWEN_VISION, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32},
    ),
    "Mamba-2": _model(
        "Mamba2ForCausalLM",
        "Mamba2Config",
        vocab_size=128,
        hidden_size=32,
        num_hidden_layers=2,
        num_heads=4,
        head_dim=16,
        state_size=8,
        n_groups=1,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "StableLM": _model("StableLmForCausalLM", "StableLmConfig", **_SHAPE),
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
