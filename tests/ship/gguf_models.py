"""A tiny random model of each architecture that is written as GGUF, with a tokenizer of bytes and a chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging

from fakes import TEMPLATE, VOCABULARY, byte_tokenizer
from tunesmith.models.load import BaseFolder, find_base, load_model

__all__ = ["MODELS", "folder_of", "logits_of", "token_ids"]

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 2,
    "eos_token_id": 7,
    "pad_token_id": 0,
}
_GEMMA: dict[str, Any] = {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_LONG = {
    "rope_type": "longrope",
    "rope_theta": 1000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.1, 1.3, 1.5, 1.9, 2.5],
    "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "original_max_position_embeddings": 256,
}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Llama, tied head": ("LlamaForCausalLM", "LlamaConfig", {"tie_word_embeddings": True}),
    "Llama 3, own head size, biases": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {"rope_parameters": _LLAMA3, "head_dim": 32, "attention_bias": True, "mlp_bias": True},
    ),
    "Llama, linear scaling": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 3.0}},
    ),
    "Mistral": ("MistralForCausalLM", "MistralConfig", {"sliding_window": None, "rope_theta": 1000.0}),
    "Qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {"rope_theta": 1000.0}),
    "Qwen2, yarn": (
        "Qwen2ForCausalLM",
        "Qwen2Config",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 128,
            }
        },
    ),
    "Qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {"head_dim": 32, "tie_word_embeddings": True}),
    "Phi-3": ("Phi3ForCausalLM", "Phi3Config", {"original_max_position_embeddings": 512}),
    "Phi-3, long and partial": (
        "Phi3ForCausalLM",
        "Phi3Config",
        {"rope_parameters": _LONG, "original_max_position_embeddings": 256},
    ),
    "Gemma 2": ("Gemma2ForCausalLM", "Gemma2Config", _GEMMA),
    "Gemma 3": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {**_GEMMA, "num_hidden_layers": 3, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]},
    ),
}


def folder_of(name: str, folder: Path, *, template: str | None = TEMPLATE, **settings: Any) -> BaseFolder:
    """The folder of one of `MODELS`, its configuration changed by `settings`."""
    import transformers

    kind, config, own = MODELS[name]
    torch.manual_seed(0)
    model = getattr(transformers, kind)(getattr(transformers, config)(**{**_SHAPE, **own, **settings}))
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.mul_(4.0)  # so that attention matters
            elif "norm" in parameter_name:
                parameter.add_(0.2 * torch.rand_like(parameter))
            else:
                parameter.copy_(torch.rand_like(parameter) - 0.5)
    logging.disable_progress_bar()
    model.save_pretrained(folder, safe_serialization=True)
    byte_tokenizer(template).save_pretrained(folder)
    return find_base(str(folder), offline=True)


def token_ids(count: int = 48) -> list[int]:
    """Ids of plain tokens, the same every time."""
    return [int(token) for token in np.random.default_rng(3).integers(8, VOCABULARY, count)]


def logits_of(folder: BaseFolder, ids: list[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """transformers' logits in float32 after every token."""
    found: np.ndarray[Any, np.dtype[np.float32]] = load_model(folder, "float32")(torch.tensor([ids])).logits[0].numpy()
    return found
