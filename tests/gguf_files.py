"""GGUF files of small Llama bases, by the rules of llama.cpp's converter, for tests that need an engine's own format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

__all__ = ["write_gguf", "write_gguf_adapter"]

_PARTS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _name(name: str) -> str:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    if name == "lm_head.weight":
        return "output.weight"
    layer, _, part = name.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{_PARTS[part.removesuffix('.weight')]}.weight"


def _rotated(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows in the order of llama.cpp's rotary embedding: pairs next to each other."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _heads(name: str, config: dict[str, Any]) -> int | None:
    if "q_proj" in name:
        return int(config["num_attention_heads"])
    return int(config["num_key_value_heads"]) if "k_proj" in name else None


def write_gguf(folder: Path, file: Path, *, dtype: Any = np.float16, pre: str = "smollm", template: str | None = None) -> Path:
    """The Llama in `folder` as one GGUF file; norms stay float32. `template` replaces its own."""
    import gguf

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name("test")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base((config.get("rope_parameters") or config)["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    words = {**tokenizer["model"]["vocab"], **{t["content"]: t["id"] for t in tokenizer["added_tokens"]}}
    controls = {t["content"] for t in tokenizer["added_tokens"] if t["special"]}
    by_id = {number: word for word, number in words.items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([by_id.get(n, f"[unused{n}]") for n in range(config["vocab_size"])])
    kinds = [gguf.TokenType.CONTROL if by_id.get(n) in controls else gguf.TokenType.NORMAL for n in range(config["vocab_size"])]
    writer.add_token_types([k if n in by_id else gguf.TokenType.UNUSED for n, k in enumerate(kinds)])
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)
    jinja = folder / "chat_template.jinja"
    writer.add_chat_template(template if template is not None else jinja.read_text(encoding="utf-8"))
    for name, weight in load_file(folder / "model.safetensors").items():
        heads = _heads(name, config)
        values = (_rotated(weight, heads) if heads else weight).float().numpy()
        writer.add_tensor(_name(name), values.astype(dtype if values.ndim > 1 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def write_gguf_adapter(adapter: Path, base: Path, file: Path) -> Path:
    """A PEFT LoRA adapter as a GGUF adapter: A and B of every weight, and alpha."""
    import gguf

    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(settings["lora_alpha"]))
    for key, weight in load_file(adapter / "adapter_model.safetensors").items():
        name, _, part = key.removeprefix("base_model.model.").rpartition(".lora_")
        heads = _heads(name, config) if part.startswith("B") else None
        values = (_rotated(weight, heads) if heads else weight).float().numpy()
        writer.add_tensor(f"{_name(name + '.weight')}.lora_{part[0].lower()}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
