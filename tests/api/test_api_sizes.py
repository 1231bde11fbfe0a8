"""Sizes from Python: of a model, of adapters, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tunesmith
from tunesmith.core.errors import ModelError

CONFIG: dict[str, Any] = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2} | {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "max_position_embeddings": 512,
}


def test_the_kinds_add_up_and_the_object_can_be_written_as_json() -> None:
    found = tunesmith.model_size(CONFIG)
    assert sum(found.by_kind.values()) == found.parameters == found.active_parameters
    assert found.by_kind == {"embedding": 8192, "attention": 24576, "mlp": 36864, "norms": 320, "head": 8192}
    whole = json.loads(json.dumps(found.as_dict()))
    for memory in [*whole["training"].values()]:
        assert memory["total"] == sum(value for item, value in memory.items() if item != "total")
    assert set(whole["training"]) == {"full", "lora", "dora", "qlora"} and whole["time"] is None


def test_every_setting_changes_what_is_found() -> None:
    """A knob without effect would be a promise that nothing keeps."""
    usual = tunesmith.model_size(CONFIG).as_dict()
    changes: dict[str, Any] = {"batch": 2, "length": 100, "rank": 4, "targets": ("q_proj",), "precision": "mixed"} | {
        "optimizer": "sgd",
        "checkpointing": True,
        "context": 100,
        "requests": 3,
    }
    for name, value in changes.items():
        changed = tunesmith.model_size(CONFIG, tunesmith.SizeSettings(**{name: value})).as_dict()
        assert any(changed[part] != usual[part] for part in ("training", "serving")), name


def test_a_table_of_ones_own_says_what_fits(tmp_path: Path) -> None:
    prices = tmp_path / "mine.csv"
    prices.write_text("name,memory_gib,usd_per_hour\nTiny,0.1,\nLarge,900,2.5\n", encoding="utf-8")
    tiny, large = tunesmith.model_size(CONFIG, prices=prices).gpus
    assert (tiny.trains, tiny.serves) == ((), ()) and large.trains == ("full", "lora", "dora", "qlora")
    assert large.usd_per_hour == 2.5 and tiny.usd_per_hour is None


def test_time_is_measured_here_and_money_is_hours_times_the_price() -> None:
    def timed(**changes: Any) -> Any:
        return tunesmith.model_size(CONFIG, tunesmith.SizeSettings(tokens=10**6, **changes)).time

    lora = timed(usd_per_hour=3.0)
    assert lora.seconds > 0 and lora.layer_tokens_per_s > 0
    assert lora.usd == pytest.approx(lora.seconds / 3600 * 3)
    assert timed().usd is None or timed().usd_per_hour is not None


def test_a_wide_layer_is_timed_by_a_narrow_one_when_it_would_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    from tunesmith.models import precision

    widths: list[int] = []

    def layer(name: str, width: int, inner: int, rank: int) -> Any:
        widths.append(width)
        return width

    monkeypatch.setattr(precision, "_layer", layer)
    monkeypatch.setattr(precision, "_timed", lambda width: 0.3 * (width / 256) ** 2)
    found = precision.layer_speed("bfloat16", width=8192, inner=16384, rank=8)
    assert widths == [256, 512] and found.num_parameters == 10 * 256**2 and found.tokens_per_s == pytest.approx(512 / 0.3)
    monkeypatch.setattr(precision, "_timed", lambda width: 1e-3)
    assert precision.layer_speed("float32", width=8192, inner=16384, rank=8).num_parameters == 10 * 1024**2


def test_a_name_and_a_folder_are_found_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    assert tunesmith.model_size(tmp_path) == tunesmith.model_size(tmp_path / "config.json") == tunesmith.model_size(CONFIG)
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    kept = tmp_path / "cache" / "bases" / "smollm2"
    kept.mkdir(parents=True)
    (kept / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    assert tunesmith.model_size("smollm2").parameters == tunesmith.model_size(CONFIG).parameters
    assert tunesmith.model_size("apprentice").parameters > 5_000_000


@pytest.mark.parametrize("name", ["nowhere/at-all", "./nothing", "qwen3-0.6b", "a/b/c"])
def test_a_name_that_is_not_on_this_machine_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="no config of a model under this name"):
        tunesmith.model_size(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch": 0}, "wrong batch"),
        ({"length": -5}, "wrong length"),
        ({"rank": True}, "wrong rank"),
        ({"context": 2.5}, "wrong context"),
        ({"tokens": 0}, "wrong tokens"),
        ({"precision": "int3"}, "float32, bfloat16, mixed"),
        ({"optimizer": "adam"}, "adamw, adamw_8bit"),
        ({"method": "magic"}, "full, lora, dora, qlora"),
        ({"usd_per_hour": -1.0}, "wrong price"),
        ({"targets": ("x_proj",)}, "down_proj, gate_proj"),
    ],
)
def test_a_wrong_setting_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        tunesmith.model_size(CONFIG, tunesmith.SizeSettings(**change))


# --- lora -------------------------------------------------------------------------------------------------------------


def test_lora_from_a_config_is_exact() -> None:
    found = tunesmith.lora_sizes(CONFIG, ranks=[4, 8], targets=["q_proj", "v_proj"], budgets_mb=[0.01, 0.02])
    assert found.exact and found.model_parameters == 78144 and found.modules == 4 and found.assumed == ()
    first, second = found.ranks
    assert first.parameters == 4 * 2 * ((64 + 64) + (64 + 32)) and second.parameters == 2 * first.parameters
    assert first.share == first.parameters / 78144
    assert found.full_memory_bytes == 4 * 2 * 78144
    assert first.memory_bytes == 2 * 78144 + 16 * first.parameters
    assert first.memory_saved_bytes == found.full_memory_bytes - first.memory_bytes
    assert [one.rank for one in found.budgets] < [one.rank_bf16 for one in found.budgets]


def test_lora_from_two_numbers_says_what_it_assumes() -> None:
    found = tunesmith.lora_sizes(
        tunesmith.ModelDimensions(hidden=4096, layers=32), ranks=[8], targets=["q_proj", "k_proj", "v_proj", "o_proj"]
    )
    assert found.ranks[0].parameters == 8 * 4 * 32 * 8192 and not found.exact
    assert found.model_parameters == 12 * 32 * 4096**2
    assert any("12 × layers × hidden²" in text for text in found.assumed)


def test_lora_from_all_numbers_of_a_llama_is_that_of_its_config() -> None:
    numbers = tunesmith.ModelDimensions(hidden=64, layers=2, heads=4, kv_heads=2, intermediate=96, vocab=128)
    found, exact = tunesmith.lora_sizes(numbers, budgets_mb=[1]), tunesmith.lora_sizes(CONFIG, budgets_mb=[1])
    assert found.ranks == exact.ranks and found.exact and found.assumed == ()


def test_keys_without_a_number_of_heads_are_of_the_usual_width() -> None:
    found = tunesmith.lora_sizes(tunesmith.ModelDimensions(hidden=4096, layers=32, kv_heads=8), ranks=[1], targets=["k_proj"])
    assert found.ranks[0].parameters == 32 * (4096 + 8 * 128) and any("heads of 128" in text for text in found.assumed)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (CONFIG, {"ranks": [0]}, "wrong rank"),
        (CONFIG, {"ranks": [-4]}, "wrong rank"),
        (CONFIG, {"ranks": []}, "at least one rank"),
        (CONFIG, {"budgets_mb": [-1]}, "wrong size budget"),
        (CONFIG, {"precision": "int8"}, "float32 or bfloat16"),
        (CONFIG, {"targets": ["qkv_proj"]}, "q_proj"),
        (tunesmith.ModelDimensions(hidden=-4096, layers=32), {"targets": ["q_proj"]}, "wrong hidden"),
        (tunesmith.ModelDimensions(hidden=4096, layers=32), {"targets": ["q_proj", "up_proj"]}, "width of the MLP"),
        (tunesmith.ModelDimensions(hidden=4096, layers=32, heads=32, kv_heads=7), {"targets": ["q_proj"]}, "share the keys"),
    ],
)
def test_lora_refuses_wrong_numbers(model: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        tunesmith.lora_sizes(model, **options)
