"""Sizes of adapters: held to peft's parameters and to the bytes of files that it saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.core.errors import ModelError
from tunesmith.plan.adapter_size import adapter_size, adapter_targets, largest_rank
from tunesmith.plan.architectures import anatomy_of

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks by it
SIZES: dict[str, Any] = {"vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 11} | {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "pad_token_id": 0,
}
GPT2 = {"vocab_size": 320, "n_embd": 64, "n_layer": 2, "n_head": 8, "n_positions": 32}


def adapted(name: str, sizes: dict[str, Any], targets: str, *, rank: int, dora: bool, device: str) -> tuple[Any, Any, Any]:
    """peft's model, our anatomy, and the layers that we say it adapts."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    anatomy = anatomy_of({"model_type": name, **sizes})
    chosen = adapter_targets(anatomy, targets.split(","))
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **sizes))
        config = LoraConfig(r=rank, target_modules=[w.module for w in chosen], use_dora=dora, fan_in_fan_out=name == "gpt2")
        return get_peft_model(model, config), anatomy, chosen


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("llama", "all"),
        ("llama", "q_proj,v_proj"),
        ("phi3", "attention"),
        ("qwen3", "mlp"),
        ("phi", "dense,fc1"),
        ("gpt2", "all"),
    ],
)
def test_the_parameters_are_those_that_peft_makes(name: str, targets: str, dora: bool) -> None:
    device = "cpu" if dora else "meta"  # DoRA takes norms of real weights
    model, _, chosen = adapted(name, GPT2 if name == "gpt2" else SIZES, targets, rank=6, dora=dora, device=device)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert adapter_size(chosen, 6, dora=dora).num_parameters == trained


@pytest.mark.parametrize(("name", "dora"), [("llama", False), ("llama", True), ("gpt2", False)])
def test_the_bytes_are_those_of_the_file_that_peft_saves(name: str, dora: bool, tmp_path: Path) -> None:
    model, _, chosen = adapted(name, GPT2 if name == "gpt2" else SIZES, "all", rank=4, dora=dora, device="cpu")
    model.save_pretrained(tmp_path / "float32", save_embedding_layers=False)
    model.to(torch.bfloat16).save_pretrained(tmp_path / "bfloat16", save_embedding_layers=False)
    found = adapter_size(chosen, 4, dora=dora)
    sizes = [(tmp_path / kind / "adapter_model.safetensors").stat().st_size for kind in ("float32", "bfloat16")]
    assert [found.file_float32, found.file_bfloat16] == sizes


@pytest.mark.parametrize("number_bytes", [4, 2])
@pytest.mark.parametrize("budget", [20_000, 300_000, 555_555])
def test_the_largest_rank_fits_and_the_next_one_does_not(budget: int, number_bytes: int) -> None:
    chosen = adapter_targets(anatomy_of({"model_type": "llama", **SIZES}), ["all"])

    def size(rank: int) -> int:
        found = adapter_size(chosen, rank)
        return found.file_float32 if number_bytes == 4 else found.file_bfloat16

    rank = largest_rank(chosen, budget, bytes_a_number=number_bytes)
    assert (rank == 0 or size(rank) <= budget) and (size(rank + 1) > budget)


def test_no_rank_is_larger_than_the_smallest_matrix() -> None:
    chosen = adapter_targets(anatomy_of({"model_type": "llama", **SIZES}), ["all"])
    assert largest_rank(chosen, 10**9) == 32  # keys: 4 heads of 8


def test_a_target_that_the_model_lacks_is_answered_with_those_that_it_has() -> None:
    with pytest.raises(ModelError) as caught:
        adapter_targets(anatomy_of({"model_type": "phi3", **SIZES}), ["q_proj"])
    said = str(caught.value)
    assert "down_proj, gate_up_proj, o_proj, qkv_proj" in said and "part of the fused qkv_proj" in said
    with pytest.raises(ModelError, match=r"c_attn, c_fc, c_proj"):
        adapter_targets(anatomy_of({"model_type": "gpt2", **GPT2}), ["all", "proj"])
