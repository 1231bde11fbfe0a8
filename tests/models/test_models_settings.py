"""config.json and generation_config.json of a merged folder are the base's own, and older readers agree on them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from fakes import copy_base
from tunesmith.core.errors import ModelError
from tunesmith.models.chat import open_chat
from tunesmith.models.load import BaseFolder, find_base
from tunesmith.models.older_readers import for_older_readers, unread_by_older_readers
from tunesmith.models.settings import (
    config_text,
    folder_differences,
    generation_settings,
)

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 8192}
FROM_5: dict[str, dict[str, Any]] = {
    "smollm2": {"model_type": "llama", "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"}},
    "llama 3": {"model_type": "llama", "rope_parameters": {"rope_theta": 500000.0, **LLAMA3}},
    "phi": {"model_type": "phi", "rope_parameters": {"rope_theta": 5e4, "rope_type": "default", "partial_rotary_factor": 0.4}},
    "gemma 3": {
        "model_type": "gemma3_text",
        "layer_types": ["sliding_attention", "full_attention"],
        "num_hidden_layers": 2,
        "rope_parameters": {
            "full_attention": {"rope_theta": 2e6, "rope_type": "linear", "factor": 8.0},
            "sliding_attention": {"rope_theta": 20000.0, "rope_type": "default"},
        },
    },
    "pythia": {
        "model_type": "gpt_neox",
        "rope_parameters": {"rope_theta": 5e4, "rope_type": "default", "partial_rotary_factor": 0.25},
    },
}


@pytest.mark.parametrize("name", FROM_5)
def test_a_config_completed_for_older_readers_is_the_same_to_transformers_5(name: str) -> None:
    before = AutoConfig.for_model(**FROM_5[name])
    after = AutoConfig.for_model(**for_older_readers(FROM_5[name]))
    assert after.rope_parameters == before.rope_parameters
    assert unread_by_older_readers(FROM_5[name]) and not unread_by_older_readers(for_older_readers(FROM_5[name]))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("smollm2", {"rope_theta": 100000.0}),
        ("llama 3", {"rope_theta": 500000.0, "rope_scaling": LLAMA3}),
        ("phi", {"rope_theta": 5e4, "partial_rotary_factor": 0.4}),
        (
            "gemma 3",
            {"rope_theta": 2e6, "rope_local_base_freq": 20000.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        ),
        ("pythia", {"rotary_emb_base": 5e4, "rotary_pct": 0.25}),
    ],
)
def test_older_readers_get_the_keys_that_they_know(name: str, keys: dict[str, Any]) -> None:
    completed = for_older_readers(FROM_5[name])
    assert completed == FROM_5[name] | keys
    assert for_older_readers(completed) == completed
    nested = {"model_type": "outer", "text_config": FROM_5[name]}
    assert for_older_readers(nested) == {"model_type": "outer", "text_config": completed}
    assert unread_by_older_readers(nested)


def test_a_rope_theta_that_older_readers_would_not_see_is_named_with_its_value() -> None:
    found = unread_by_older_readers(FROM_5["smollm2"])
    assert found.startswith("older readers:") and "rope_theta 100000.0" in found and "to fix it" in found


@pytest.mark.parametrize(
    "config",
    [
        {"rope_theta": 100000.0},
        {"rope_theta": 100000.0, "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"}},
        {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}},
        {"n_positions": 1024},
        {"rope_parameters": None},
    ],
)
def test_a_config_that_everybody_reads_alike_gives_no_finding(config: dict[str, Any]) -> None:
    assert unread_by_older_readers(config) == ""


def planted(tiny: BaseFolder, folder: Path, *, base: dict[str, Any], merged: dict[str, Any], lost: str = "") -> tuple[str, ...]:
    one = find_base(str(copy_base(tiny.path, folder / "base", config=base)))
    other = copy_base(one.path, folder / "merged", config=merged)
    config = json.loads((other / "config.json").read_text())
    config.pop(lost, None)
    (other / "config.json").write_text(json.dumps(config))
    return folder_differences(one, find_base(str(other)), (7,))


@pytest.mark.parametrize(
    ("base", "merged", "lost"),
    [
        ({"rope_theta": 100000.0}, {}, "rope_theta"),
        ({"rope_theta": 100000.0}, {"rope_theta": 10000.0}, ""),
        ({}, {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, ""),
        ({}, {"rope_theta": 10000.0}, ""),  # a key that the base does not have
        ({}, {"tie_word_embeddings": False}, ""),
        ({}, {"vocab_size": 400}, ""),
        ({"head_dim": 8}, {"head_dim": 16}, ""),
        ({"head_dim": 8}, {}, "head_dim"),
        ({"sliding_window": 128}, {"sliding_window": None}, ""),
        ({"eos_token_id": [7, 3]}, {"eos_token_id": 7}, ""),
        ({"text_config": {"rope_theta": 1e6}}, {"text_config": {}}, ""),
        ({"torch_dtype": "float32"}, {}, "torch_dtype"),
    ],
)
def test_a_merged_config_that_another_reader_would_read_otherwise_is_found(
    base: dict[str, Any], merged: dict[str, Any], lost: str, tiny: BaseFolder, tmp_path: Path
) -> None:
    found = planted(tiny, tmp_path, base=base, merged=merged, lost=lost)
    assert len(found) == 1 and found[0].startswith("config.json: ") and " in the base " in found[0]


def test_another_stored_type_is_no_difference(tiny: BaseFolder, tmp_path: Path) -> None:
    changes = {"torch_dtype": "float32", "dtype": "float32"}
    assert planted(tiny, tmp_path, base=changes, merged=dict.fromkeys(changes, "bfloat16")) == ()


def one_tensor_more(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "lm_head.weight": weights["model.embed_tokens.weight"].clone()}, folder / "model.safetensors")


def resized(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "model.embed_tokens.weight"
    save_file({**weights, name: weights[name][:-8].clone()}, folder / "model.safetensors")


def another_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + " ")


def no_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def no_ends(folder: Path) -> None:
    (folder / "generation_config.json").unlink()


def another_end(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": 3}')


FAULTS: dict[Callable[[Path], None], str] = {
    one_tensor_more: "weights: lm_head.weight",
    resized: "weights: model.embed_tokens.weight",
    another_tokenizer: "tokenizer.json is not the base's",
    no_template: "chat_template.jinja is not the base's",
    no_ends: "does not declare the end token 7",
    another_end: "does not declare the end token 7",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_a_folder_that_is_not_the_base_s_but_for_its_weights_is_found(
    fault: Callable[[Path], None], tiny: BaseFolder, tmp_path: Path
) -> None:
    shutil.copytree(tiny.path, tmp_path / "m")
    fault(tmp_path / "m")
    found = folder_differences(tiny, find_base(str(tmp_path / "m")), (7,))
    assert len(found) == 1 and FAULTS[fault] in found[0]
    assert folder_differences(tiny, tiny, (7,)) == ()


def test_torn_generation_settings_are_a_message(tiny: BaseFolder, tmp_path: Path) -> None:
    shutil.copytree(tiny.path, tmp_path / "m")
    (tmp_path / "m" / "generation_config.json").write_text('{"eos_')
    with pytest.raises(ModelError, match=r"generation_config\.json cannot be read"):
        folder_differences(tiny, find_base(str(tmp_path / "m")), (7,))


def test_only_the_declared_type_changes_and_the_rest_keeps_its_bytes(tiny: BaseFolder, tmp_path: Path) -> None:
    folder = copy_base(tiny.path, tmp_path / "b")
    written = '{"model_type":"llama",  "torch_dtype" : "float32",\n"rms_norm_eps": 1e-5, "quantize": {"x_dtype": "float32"}}'
    (folder / "config.json").write_text(written)
    base = find_base(str(folder))
    assert config_text(base, None) == written
    assert config_text(base, "bfloat16") == written.replace('"torch_dtype" : "float32"', '"torch_dtype" : "bfloat16"')


@pytest.mark.parametrize(
    ("own", "ends", "settings", "after"),
    [
        ({"eos_token_id": 7, "top_p": 0.9}, (7,), {}, None),
        ({"eos_token_id": [3, 7]}, (7, 3), {}, None),
        ({"eos_token_id": 3, "top_p": 0.9}, (3, 7), {}, {"eos_token_id": [3, 7], "top_p": 0.9}),
        ({}, (7,), {}, {"eos_token_id": 7}),
        ({"eos_token_id": 7}, (7,), {"temperature": 0.7}, {"eos_token_id": 7, "temperature": 0.7}),
        (None, (7, 3), {}, {"bos_token_id": 2, "pad_token_id": 0, "eos_token_id": [7, 3]}),
    ],
)
def test_generation_settings_are_the_base_s_with_every_end_declared(
    own: dict[str, Any] | None,
    ends: tuple[int, ...],
    settings: dict[str, Any],
    after: dict[str, Any] | None,
    tiny: BaseFolder,
    tmp_path: Path,
) -> None:
    folder = copy_base(tiny.path, tmp_path / "b", without=["generation_config.json"])
    if own is not None:
        (folder / "generation_config.json").write_text(json.dumps(own))
    text = generation_settings(find_base(str(folder)), ends, settings)
    if after is None:
        assert text == json.dumps(own)
    else:
        assert json.loads(text) == after


def test_a_base_without_generation_settings_stops_where_its_config_says(tiny: BaseFolder, tmp_path: Path) -> None:
    folder = copy_base(tiny.path, tmp_path / "b", without=["generation_config.json"], config={"eos_token_id": [7, 3]})
    assert set(open_chat(find_base(str(folder))).end_ids) == {7, 3}
