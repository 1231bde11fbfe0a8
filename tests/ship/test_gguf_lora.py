"""Adapters as GGUF: base and adapter in llama.cpp give the numbers of base and adapter in transformers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf_models import folder_of, logits_of, token_ids
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from llama_cpp_library import LlamaCpp
from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import open_adapter
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.ship.gguf import lora, write_gguf, write_gguf_lora

EXACT = 2e-4
KINDS: dict[str, dict[str, Any]] = {
    "LoRA": {},
    "rsLoRA": {"use_rslora": True},
    "ranks and scales of their own": {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 6}, "alpha_pattern": {"v_proj": 3}},
}
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseFolder:
    return folder_of("Llama, tied head", tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def file(base: BaseFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(base, tmp_path_factory.mktemp("file") / "model.gguf", quant="f32").path


def adapter_of(base: BaseFolder, folder: Path, modules: Any = ALL, **settings: Any) -> Path:
    """An adapter of rank 4 whose matrices are all filled, so that it changes the answers."""
    model = load_model(base, "float32")
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=9, target_modules=modules, task_type="CAUSAL_LM", **settings)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)  # by peft itself
        adapted = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn_like(parameter))
    adapted.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    return folder


def distance(base: BaseFolder, adapter: Path, file: Path, converted: Path) -> float:
    """Largest difference between llama.cpp and transformers, by the largest change that the adapter makes."""
    ids = token_ids()
    adapted = open_adapter(load_model(base, "float32"), adapter)
    expected = adapted(torch.tensor([ids])).logits[0].detach().numpy()
    found = LlamaCpp(file, adapter=converted).logits(ids)
    return float(np.abs(found - expected).max() / np.abs(expected - logits_of(base, ids)).max())


@pytest.mark.parametrize("kind", KINDS)
def test_llama_cpp_with_the_adapter_computes_what_transformers_does(
    kind: str, base: BaseFolder, file: Path, tmp_path: Path
) -> None:
    adapter = adapter_of(base, tmp_path / "adapter", **KINDS[kind])
    converted = write_gguf_lora(base, adapter, tmp_path / "adapter.gguf").path
    assert distance(base, adapter, file, converted) < EXACT


@pytest.mark.parametrize("name", ["Qwen2", "Phi-3"])
def test_other_architectures_and_fused_matrices_fit_too(name: str, tmp_path: Path) -> None:
    base = folder_of(name, tmp_path / "model")
    file = write_gguf(base, tmp_path / "model.gguf", quant="f32").path
    adapter = adapter_of(base, tmp_path / "adapter", "all-linear")
    assert distance(base, adapter, file, write_gguf_lora(base, adapter, tmp_path / "adapter.gguf").path) < EXACT


def no_pairs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lora, "rows_in_pairs", lambda values, heads: values)


def plain_scale(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lora, "_scaling", lambda module, rank, config: config["lora_alpha"] / rank)


@pytest.mark.parametrize("plant", [no_pairs, plain_scale])
def test_a_wrong_order_or_scale_is_seen(
    plant: Callable[[pytest.MonkeyPatch], None], base: BaseFolder, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = adapter_of(base, tmp_path / "adapter", use_rslora=True)
    plant(monkeypatch)
    converted = write_gguf_lora(base, adapter, tmp_path / "adapter.gguf").path
    assert distance(base, adapter, file, converted) > 0.02


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"use_dora": True}, "a DoRA adapter"),
        ({"peft_type": "IA3"}, "an adapter of the kind IA3"),
        ({"bias": "all"}, "trained biases"),
        ({"modules_to_save": ["embed_tokens"]}, "modules_to_save in its configuration"),
    ],
)
def test_what_a_gguf_adapter_cannot_hold_is_refused_with_what_to_do(
    settings: dict[str, Any], named: str, base: BaseFolder, tmp_path: Path
) -> None:
    adapter = adapter_of(base, tmp_path / "adapter")
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **settings}))
    with pytest.raises(ModelError, match=named) as caught:
        write_gguf_lora(base, adapter, tmp_path / "adapter.gguf")
    assert "--to gguf" in caught.value.problems[0].hint


def test_an_adapter_of_another_base_is_refused(base: BaseFolder, tmp_path: Path) -> None:
    other = folder_of("Llama, tied head", tmp_path / "other", hidden_size=32)
    adapter = adapter_of(other, tmp_path / "adapter")
    with pytest.raises(ModelError, match="does not fit this base"):
        write_gguf_lora(base, adapter, tmp_path / "adapter.gguf")


def test_half_an_adapter_is_refused(base: BaseFolder, tmp_path: Path) -> None:
    adapter = adapter_of(base, tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    lost = next(name for name in tensors if "lora_B" in name)
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, file)
    with pytest.raises(ModelError, match="does not hold pairs of LoRA matrices") as caught:
        write_gguf_lora(base, adapter, tmp_path / "adapter.gguf")
    assert lost in str(caught.value)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="not a safetensors file"):
        write_gguf_lora(base, adapter, tmp_path / "adapter.gguf")
