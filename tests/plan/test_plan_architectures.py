"""Parameters from a config alone: held to published counts and, tensor by tensor, to transformers' own classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared_paths import material
from tunesmith.core.errors import ModelError
from tunesmith.plan.architectures import FAMILIES, anatomy_of
from tunesmith.plan.model_config import read_config
from tunesmith.plan.shape import shape_of

LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 128,
}


def test_the_count_of_every_published_config_is_exact() -> None:
    folder = material("models")
    rows = json.loads((folder / "expected_params_checked.json").read_text(encoding="utf-8"))["rows"]
    found = {row["config"]: anatomy_of(read_config(folder / row["config"])) for row in rows}
    assert {name: one.num_parameters for name, one in found.items()} == {row["config"]: row["parameters"] for row in rows}
    assert {name: one.kv_heads for name, one in found.items()} == {row["config"]: row["kv_heads"] for row in rows}
    assert len(found) == len(list((folder / "configs").glob("*.json")))


@pytest.mark.parametrize(
    ("parameters", "config"),
    [
        (
            46_702_792_704,  # Mixtral 8x7B
            {"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}
            | {"num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2}
            | {"vocab_size": 32000},
        ),
        (
            2_614_341_888,  # Gemma 2 2B
            {"model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "head_dim": 256}
            | {"num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 256000},
        ),
        (
            124_439_808,  # GPT-2
            {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50257},
        ),
    ],
)
def test_published_totals_of_other_models_are_met(parameters: int, config: Mapping[str, Any]) -> None:
    assert anatomy_of(config).num_parameters == parameters


def test_of_a_mixture_of_experts_a_token_meets_a_part() -> None:
    mixtral = {"model_type": "mixtral", "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8} | {
        "num_experts_per_tok": 2,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "vocab_size": 32000,
    }
    found = anatomy_of(mixtral)
    assert found.active_parameters == 12_879_925_248  # "12.9B" (Jiang et al. 2024)
    assert anatomy_of(LLAMA).active_parameters == anatomy_of(LLAMA).num_parameters


def drawn_config(data: st.DataObject, name: str) -> dict[str, Any]:
    """Random dimensions with everything that a config of this architecture may say."""
    draw = data.draw
    kv_heads, groups, dim = draw(st.sampled_from((1, 2, 4))), draw(st.sampled_from((1, 2, 4))), draw(st.sampled_from((8, 16)))
    heads = kv_heads * groups
    whole = {"vocab_size": draw(st.integers(8, 300)), "tie_word_embeddings": draw(st.booleans())}
    if name == "gpt2":
        sizes = {
            "n_embd": heads * dim,
            "n_layer": draw(st.integers(1, 4)),
            "n_head": heads,
            "n_positions": draw(st.integers(4, 64)),
        }
        return whole | sizes | draw(st.sampled_from(({}, {"n_inner": 72})))
    config: dict[str, Any] = whole | {
        "hidden_size": heads * dim,
        "intermediate_size": draw(st.integers(8, 200)),
        "num_hidden_layers": draw(st.integers(1, 4)),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "pad_token_id": 0,
    }
    if name == "gpt_neox":
        del config["num_key_value_heads"]
    if FAMILIES[name].qk_norm == "head" or FAMILIES[name].head_dim or name == "llama":
        config["head_dim"] = draw(st.sampled_from((8, 24)))
    for key in {str(says) for says in FAMILIES[name].biases.values() if isinstance(says, str)} | (
        {"attention_bias"} if name == "gpt_neox" else set()
    ):
        config[key] = draw(st.booleans())
    if name == "phi":
        config["qk_layernorm"] = draw(st.booleans())
    if FAMILIES[name].experts:
        config |= {"num_experts": draw(st.integers(2, 5)), "num_experts_per_tok": draw(st.integers(1, 2))}
    if name == "mixtral":
        config["num_local_experts"] = config.pop("num_experts")
    if name == "qwen3_moe":
        config |= {"moe_intermediate_size": draw(st.integers(8, 40)), "decoder_sparse_step": draw(st.integers(1, 2))}
        config["mlp_only_layers"] = draw(st.lists(st.integers(0, 3), max_size=2, unique=True))
    return config


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - {"gemma3"}))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_tensor_has_the_name_and_shape_that_the_library_gives_it(name: str, data: st.DataObject) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = drawn_config(data, name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **config))
    found = anatomy_of({"model_type": name, **config})
    assert {w.name: w.shape for w in found.weights} == {n: tuple(p.shape) for n, p in model.named_parameters()}
    assert found.num_parameters == model.num_parameters()
    linear = {
        n for n, m in model.named_modules() if type(m).__name__ in ("Linear", "Conv1D") and not n.endswith(("lm_head", "gate"))
    }
    assert {w.module for w in found.weights if w.is_linear} == linear
    if not FAMILIES[name].experts and not name.startswith("gpt"):
        assert found.shape == shape_of(config, {w.name: w.shape for w in found.weights})


@pytest.mark.parametrize("head", [True, False])
def test_gemma_3_is_counted_with_its_tower(head: bool) -> None:
    from transformers import AutoConfig, AutoModelForImageTextToText

    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 7, "vocab_size": 300}
    config = {"text_config": text, "vision_config": {**vision, "image_size": 28, "vision_use_head": head}}
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.for_model("gemma3", **config))
    found = anatomy_of({"model_type": "gemma3", **config})
    assert {w.name: w.shape for w in found.weights} == {n: tuple(p.shape) for n, p in model.named_parameters()}
    assert set(found.by_kind) == {"embedding", "attention", "mlp", "norms", "vision"}


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - {"gemma3"}))
def test_what_a_config_leaves_out_is_what_the_library_takes(name: str) -> None:
    from transformers import AutoConfig

    family, made = FAMILIES[name], AutoConfig.for_model(name)
    assert family.defaults == {key: getattr(type(made), key) for key in family.defaults}
    assert family.tied == made.tie_word_embeddings
    assert family.head_dim in (None, made.head_dim if hasattr(made, "head_dim") else None)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("mistral", {"sliding_window": 16}),
        ("mistral", {"sliding_window": None}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 3}),
        ("qwen3", {"use_sliding_window": False, "sliding_window": 16}),
        ("gemma2", {"sliding_window": 16}),
        ("gemma3_text", {"sliding_window": 16}),
        ("gemma3_text", {"sliding_window": 16, "layer_types": ["full_attention"] * 6 + ["sliding_attention"]}),
    ],
)
def test_the_windows_of_the_layers_are_those_of_the_library(name: str, more: dict[str, Any]) -> None:
    from transformers import AutoConfig
    from transformers.cache_utils import DynamicCache

    config = {**LLAMA, "model_type": name, "num_hidden_layers": 7, "num_key_value_heads": 2, "head_dim": 8, **more}
    kept = DynamicCache(config=AutoConfig.for_model(**config))
    assert [getattr(layer, "sliding_window", 0) for layer in kept.layers] == list(anatomy_of(config).windows)


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(config: Mapping[str, Any]) -> str:
    with pytest.raises(ModelError) as caught:
        anatomy_of(config)
    return str(caught.value)


@pytest.mark.parametrize("name", ["mamba2", "deepseek_v3", "LLAMA", "", 7])
def test_an_architecture_that_is_not_known_is_refused_by_name(name: object) -> None:
    said = refused({**LLAMA, "model_type": name})
    assert "llama, mistral, mixtral" in said and (not name or repr(name) in said)


@pytest.mark.parametrize("key", sorted(LLAMA.keys() - {"model_type"}))
def test_a_missing_value_is_named(key: str) -> None:
    assert f"lacks a value: {key!r}" in refused({k: v for k, v in LLAMA.items() if k != key})
    assert f"lacks a value: {key!r}" in refused({**LLAMA, key: None})


@pytest.mark.parametrize("value", [0, -4, 2.5, "32", True, 10**30])
def test_a_wrong_value_is_named(value: object) -> None:
    assert "wrong value for hidden_size" in refused({**LLAMA, "hidden_size": value})


def test_heads_that_do_not_divide_are_refused() -> None:
    assert "cannot be split" in refused({**LLAMA, "hidden_size": 30})
    assert "cannot share the keys" in refused({**LLAMA, "num_key_value_heads": 3})
    assert "lacks a value: 'num_key_value_heads'" in refused({**LLAMA, "model_type": "mistral"})


def test_a_classifier_is_refused() -> None:
    assert "LlamaForSequenceClassification" in refused({**LLAMA, "architectures": ["LlamaForSequenceClassification"]})


def test_a_llama_without_its_name_is_recognised_and_nothing_else_is() -> None:
    bare = {**LLAMA, "pretraining_tp": 1, "mlp_bias": False}
    del bare["model_type"]
    assert anatomy_of(bare).num_parameters == anatomy_of(LLAMA).num_parameters
    assert "does not say which architecture" in refused({**bare, "kv_lora_rank": 16})
    assert "does not say which architecture" in refused({k: v for k, v in bare.items() if k != "mlp_bias"})


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "is not JSON"), ("[1]", "not a JSON object"), ('{"model_type": ', "is not JSON"), (None, "cannot read")],
)
def test_a_file_that_holds_no_config_is_refused(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=said):
        read_config(tmp_path)
