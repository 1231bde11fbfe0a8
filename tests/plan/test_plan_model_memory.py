"""Memory by item: held to what autograd saves, optimisers keep, caches hold and quantisers write."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.core.errors import ModelError
from tunesmith.plan.activations import Adapted, activation_bytes, block_bytes, head_bytes
from tunesmith.plan.adapter_size import adapter_targets
from tunesmith.plan.architectures import anatomy_of
from tunesmith.plan.formats import FORMATS, nf4_bytes
from tunesmith.plan.gpus import GPUS, Gpu, fits, read_gpus
from tunesmith.plan.serving_memory import kv_cache_bytes, serving_memory
from tunesmith.plan.training_memory import METHODS, OPTIMIZERS, training_memory
from tunesmith.plan.weights import Anatomy

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks by it
SIZES: dict[str, Any] = {"vocab_size": 300, "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4} | {
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
SMOLLM2 = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "vocab_size": 49152,
} | {
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}
LLAMA_8B = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32} | {
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}


@dataclass
class Held:
    tensor: torch.Tensor

    __hash__ = object.__hash__


def saved_bytes(model: Any, batch: int, length: int) -> int:
    """Bytes that autograd still holds for the backward pass after a forward pass, each storage once, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    held: list[weakref.ref[Held]] = []

    def pack(tensor: torch.Tensor) -> Held:
        one = Held(tensor)
        held.append(weakref.ref(one))
        return one

    ids = torch.zeros(batch, length, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda one: one.tensor):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    gc.collect()
    storages = [one.tensor.untyped_storage() for ref in held if (one := ref()) is not None]
    sizes = {s.data_ptr(): s.nbytes() for s in storages if s.data_ptr() not in weights}
    assert loss.requires_grad
    return sum(sizes.values())


@pytest.mark.parametrize(
    ("name", "how", "dtype"),
    [
        *(("llama", how, dtype) for how in ("full", "lora", "dora") for dtype in (torch.bfloat16, torch.float32)),
        *(("gemma3_text", how, torch.bfloat16) for how in ("full", "lora")),
        ("gemma3_text", "lora", torch.float32),
        *((name, "full", torch.bfloat16) for name in ("qwen3", "phi", "phi3", "mixtral", "olmo2")),
    ],
)
def test_activations_are_what_autograd_saves(name: str, how: str, dtype: torch.dtype) -> None:
    """Never more than 6 % too little; up to 9 % too much where adapters in float32 share an input with the frozen layer."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    number_bytes = dtype.itemsize
    sizes = SIZES | ({"head_dim": 32} if name in ("qwen3", "gemma3_text") else {})
    config = AutoConfig.for_model(name, **sizes)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa").train()
    anatomy, adapted = anatomy_of(config.to_dict()), None
    if how != "full":
        adapted = Adapted(adapter_targets(anatomy, ["all"]), 4, dora=how == "dora")
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", use_dora=how == "dora"))
    block = block_bytes(anatomy, number_bytes=number_bytes, adapted=adapted)
    head = head_bytes(anatomy, number_bytes=number_bytes, trained=adapted is None)
    rest = anatomy.vocabulary * (number_bytes + 8)  # of the logits autograd holds one copy; the others are the peak's
    assert 0.94 <= 2 * 160 * (anatomy.layers * block + head - rest) / saved_bytes(model, 2, 160) <= 1.09


def test_checkpointing_keeps_the_inputs_of_blocks_and_one_block() -> None:
    anatomy = anatomy_of({"model_type": "llama", **SIZES})
    kept = activation_bytes(anatomy, tokens=10, number_bytes=2, checkpointing=True)
    whole = activation_bytes(anatomy, tokens=10, number_bytes=2, checkpointing=False)
    assert whole - kept == pytest.approx(10 * (3 * block_bytes(anatomy, number_bytes=2) - 4 * 128 * 2), abs=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("adamw", lambda p: torch.optim.AdamW(p)),
        ("sgd", lambda p: torch.optim.SGD(p)),
        ("adafactor", lambda p: torch.optim.Adafactor(p)),
    ],
)
def test_optimiser_states_are_those_that_the_optimiser_keeps(name: str, made: Any, dtype: torch.dtype) -> None:
    shapes = [(40, 24), (24,), (3, 8, 5)]
    parameters = [
        torch.nn.Parameter(torch.ones(shape, dtype=torch.float32 if name == "adafactor" else dtype)) for shape in shapes
    ]
    optimizer = made(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    kept = [v for state in optimizer.state.values() for k, v in state.items() if torch.is_tensor(v) and k != "step"]
    expected = sum(OPTIMIZERS[name](shape, parameters[0].element_size()) for shape in shapes)
    assert sum(v.numel() * v.element_size() for v in kept) == expected


def test_full_training_in_float32_with_adamw_takes_sixteen_bytes_per_parameter() -> None:
    anatomy = anatomy_of({"model_type": "llama", **SIZES})
    found = training_memory(anatomy, "full", (), rank=8, tokens=1, precision="float32", optimizer="adamw", checkpointing=False)
    assert found.weights + found.gradients + found.optimizer == 16 * anatomy.num_parameters and found.adapter == 0


def test_an_adapter_trains_in_float32_on_frozen_weights() -> None:
    anatomy = anatomy_of({"model_type": "llama", **SIZES})
    targets = adapter_targets(anatomy, ["all"])
    found = {
        method: training_memory(
            anatomy, method, targets, rank=8, tokens=64, precision="bfloat16", optimizer="adamw", checkpointing=False
        )
        for method in METHODS
    }
    lora = found["lora"]
    assert lora.weights == 2 * anatomy.num_parameters
    assert lora.adapter == lora.gradients == lora.optimizer // 2 == 4 * 8 * sum(sum(w.in_out) for w in targets)
    assert found["qlora"].weights < lora.weights < found["full"].weights + found["full"].gradients
    assert found["dora"].adapter - lora.adapter == 4 * sum(w.in_out[1] for w in targets)
    assert lora.total == sum((lora.weights, lora.adapter, lora.gradients, lora.optimizer, lora.activations, lora.libraries))


# --- serving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "more"), [("llama", {}), ("gemma3_text", {"sliding_window": 16}), ("mistral", {"sliding_window": 16})]
)
def test_the_cache_is_what_the_library_keeps_after_reading(name: str, more: dict[str, Any]) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.cache_utils import DynamicCache

    config = AutoConfig.for_model(name, **SIZES, head_dim=16, **more)
    model = AutoModelForCausalLM.from_config(config).eval()
    cache = DynamicCache(config=config)
    with torch.no_grad():
        model(input_ids=torch.zeros(2, 40, dtype=torch.long), past_key_values=cache, use_cache=True)
    windows = anatomy_of(config.to_dict()).windows
    kept = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    # The library keeps one token less than a window: the next one takes its place.
    ours = kv_cache_bytes(anatomy_of(config.to_dict()), context=40, requests=2, number_bytes=1)
    assert ours - kept == 2 * 2 * 2 * 16 * sum(0 < window < 40 for window in windows)


def test_the_sizes_of_gguf_files_are_those_of_llama_cpp() -> None:
    """Llama 3.1 8B as published (4,920,739,232 and 8,540,775,840 bytes with metadata); SmolLM2 as our quantiser wrote it."""
    large, small = anatomy_of(LLAMA_8B), anatomy_of(SMOLLM2)
    assert 0 < 4_920_739_232 - FORMATS["gguf-q4_k_m"](large) < 10e6
    assert 0 < 8_540_775_840 - FORMATS["gguf-q8_0"](large) < 10e6
    assert 8 * FORMATS["gguf-q4_k_m"](small) / small.num_parameters == pytest.approx(6.17, abs=0.02)  # 180 tensors fall back


def test_four_bits_take_what_the_paper_says() -> None:
    """0.127 bits a weight for the scales with double quantisation (Dettmers et al. 2023, section 3)."""
    anatomy = anatomy_of(LLAMA_8B)
    linear = sum(w.num_parameters for w in anatomy.weights if w.is_linear)
    bits = 8 * (nf4_bytes(anatomy) - 2 * (anatomy.num_parameters - linear)) / linear
    assert bits == pytest.approx(4.127, abs=0.001)


def test_formats_are_listed_from_large_to_small_with_the_same_cache() -> None:
    rows = serving_memory(anatomy_of(LLAMA_8B), context=8192, requests=4)
    assert [row.weights for row in rows] == sorted((row.weights for row in rows), reverse=True)
    assert {row.kv_cache for row in rows} == {2 * 32 * 8 * 128 * 2 * 8192 * 4}


# --- GPUs -------------------------------------------------------------------------------------------------------------


def test_the_table_of_gpus_can_be_read_and_names_a_source_and_a_day_for_each_price() -> None:
    found = read_gpus()
    assert len(found) > 8 and [gpu.memory_gib for gpu in found] == sorted(gpu.memory_gib for gpu in found)
    assert all(gpu.source.startswith("https://") and len(gpu.read_on) == 10 for gpu in found if gpu.usd_per_hour is not None)


def test_a_gpu_keeps_a_reserve() -> None:
    gpu = Gpu("mine", 10.0, None)
    assert fits(gpu, int(9.2 * 2**30)) and not fits(gpu, int(9.3 * 2**30))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,memory_gib\nA,8\n", "lacks a column: 'usd_per_hour'"),
        ("name,memory_gib,usd_per_hour\n", "is empty"),
        ("name,memory_gib,usd_per_hour\nA,much,1\n", "wrong memory_gib"),
        ("name,memory_gib,usd_per_hour\nA,,1\n", "wrong memory_gib"),
        ("name,memory_gib,usd_per_hour\nA,8,-1\n", "wrong usd_per_hour"),
        ("name,memory_gib,usd_per_hour\nA,8,nan\n", "wrong usd_per_hour"),
    ],
)
def test_a_wrong_table_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=said):
        read_gpus(tmp_path / "mine.csv")


def test_a_table_without_prices_is_enough(tmp_path: Path) -> None:
    columns = next(line for line in GPUS.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    (tmp_path / "mine.csv").write_text(f"{columns}\nMine,12,\n", encoding="utf-8")
    assert read_gpus(tmp_path / "mine.csv") == (Gpu("Mine", 12.0, None),)
    with pytest.raises(ModelError, match="cannot read"):
        read_gpus(tmp_path / "none.csv")


def test_a_shape_of_a_model_is_the_same_from_config_and_weights() -> None:
    anatomy: Anatomy = anatomy_of(SMOLLM2)
    assert anatomy.num_parameters == 134_515_008 and anatomy.shape.key_width == 192
