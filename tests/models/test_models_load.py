"""Opening a base: a wrong folder gives a sentence before any library touches it, a right one gives the model."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from fakes import copy_base
from shared_paths import material
from tunesmith.core.errors import ModelError
from tunesmith.models.load import find_base, load_model, load_tokenizer, safetensors_shapes
from tunesmith.models.precision import choose_precision


def no_weights(base: Path, folder: Path) -> None:
    copy_base(base, folder, without=["*.safetensors"])


def pickled(base: Path, folder: Path) -> None:
    no_weights(base, folder)
    torch.save({"w": torch.zeros(2)}, folder / "pytorch_model.bin")


def own_code(base: Path, folder: Path) -> None:
    copy_base(base, folder, config={"auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}})


def code_file(base: Path, folder: Path) -> None:
    copy_base(base, folder)
    (folder / "modeling_evil.py").write_text("raise SystemExit")


def truncated(base: Path, folder: Path) -> None:
    copy_base(base, folder)
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1000])


def pickle_in_disguise(base: Path, folder: Path) -> None:
    copy_base(base, folder)
    torch.save({"w": torch.zeros(2000)}, folder / "model.safetensors")


def no_tokenizer(base: Path, folder: Path) -> None:
    copy_base(base, folder, without=["tokenizer*"])


def no_config(base: Path, folder: Path) -> None:
    copy_base(base, folder, without=["config.json"])


def torn_config(base: Path, folder: Path) -> None:
    copy_base(base, folder)
    (folder / "config.json").write_text('{"model_type": ')


def list_config(base: Path, folder: Path) -> None:
    copy_base(base, folder)
    (folder / "config.json").write_text("[]")


def an_adapter(base: Path, folder: Path) -> None:
    copy_base(base, folder)
    (folder / "adapter_config.json").write_text("{}")


def empty(base: Path, folder: Path) -> None:
    folder.mkdir()


BAD: dict[Callable[[Path, Path], None], str] = {
    no_weights: "no weights",
    pickled: "pickled",
    own_code: "run its own code",
    code_file: "run its own code",
    truncated: "not a safetensors file",
    pickle_in_disguise: "not a safetensors file",
    no_tokenizer: "no tokenizer",
    no_config: "no readable config.json",
    torn_config: "no readable config.json",
    list_config: "no readable config.json",
    an_adapter: "holds an adapter",
    empty: "no readable config.json",
}


@pytest.mark.parametrize("fault", BAD, ids=lambda f: f.__name__)
def test_each_bad_folder_gives_a_message_in_four_parts(
    fault: Callable[[Path, Path], None], tiny_path: Path, tmp_path: Path
) -> None:
    fault(tiny_path, tmp_path / "bad")
    with pytest.raises(ModelError, match=BAD[fault]) as caught:
        find_base(str(tmp_path / "bad"))
    problem = caught.value.problems[0]
    assert problem.what and problem.value and problem.expected and problem.hint


def test_an_architecture_that_does_not_exist_is_a_message(tiny_path: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny_path, tmp_path / "odd", config={"model_type": "nonesuch"})
    with pytest.raises(ModelError, match="does not know the architecture of the base: 'model_type nonesuch'"):
        load_model(find_base(str(folder)), "float32")


def test_weights_of_another_shape_are_a_message(tiny_path: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny_path, tmp_path / "odd", config={"intermediate_size": 128})
    with pytest.raises(ModelError, match=r"weights of the base do not fit its config\.json"):
        load_model(find_base(str(folder)), "float32")


def test_a_torn_tokenizer_is_a_message(tiny_path: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny_path, tmp_path / "odd")
    (folder / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(ModelError, match="cannot open the tokenizer"):
        load_tokenizer(find_base(str(folder)))


def test_a_missing_folder_names_the_one_that_was_meant(tiny_path: Path, tmp_path: Path) -> None:
    copy_base(tiny_path, tmp_path / "phi-mini")
    with pytest.raises(ModelError, match="no such base model") as caught:
        find_base(str(tmp_path / "phi-mni"))
    assert str(tmp_path / "phi-mini") in str(caught.value)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere", "nowhere", "a/b/c", "aprentice"])
@pytest.mark.usefixtures("no_network")
def test_a_name_that_is_no_folder_and_no_hub_id_never_asks_the_network(name: str) -> None:
    with pytest.raises(ModelError, match="no such base model"):
        find_base(name)


@pytest.mark.usefixtures("no_network")
def test_the_embedded_base_opens_offline_and_speaks_its_own_format() -> None:
    from tunesmith.models.chat import open_chat

    base = find_base("apprentice")
    assert open_chat(base).turn_end is not None and base.context >= 512


def test_a_changed_file_changes_the_fingerprint_and_moving_the_folder_does_not(tiny_path: Path, tmp_path: Path) -> None:
    one = find_base(str(tiny_path)).fingerprint
    moved = copy_base(tiny_path, tmp_path / "moved")
    assert find_base(str(moved)).fingerprint == one
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja"):
        other = copy_base(tiny_path, tmp_path / name)
        data = bytearray((other / name).read_bytes())
        data[-2] ^= 1
        (other / name).write_bytes(bytes(data))
        assert find_base(str(other)).fingerprint != one, name


def test_a_loaded_model_is_frozen_in_evaluation_mode_and_in_the_precision_asked(tiny_path: Path) -> None:
    base = find_base(str(tiny_path))
    for precision in ("float32", "bfloat16"):
        model = load_model(base, precision)
        assert not model.training and not any(p.requires_grad for p in model.parameters())
        assert model.dtype is getattr(torch, precision)


def test_sampling_settings_of_the_folder_do_not_reach_generation(tiny_path: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny_path, tmp_path / "b")
    (folder / "generation_config.json").write_text(
        json.dumps({"do_sample": True, "temperature": 0.5, "repetition_penalty": 3.0})
    )
    settings = load_model(find_base(str(folder)), "float32").generation_config
    assert not settings.do_sample and settings.repetition_penalty in {None, 1.0}


def test_headers_give_the_shapes_without_the_tensors(tiny_path: Path) -> None:
    shapes = safetensors_shapes(tiny_path / "model.safetensors")
    assert shapes["model.embed_tokens.weight"] == ("F32", (384, 32))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_whatever_they_are_crash_the_check_of_a_header(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(data)
    with contextlib.suppress(ModelError):
        assert safetensors_shapes(file) == {}  # only an empty header is complete in so few bytes


def test_a_header_with_impossible_offsets_is_refused(tmp_path: Path) -> None:
    for header in ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 80]}}, {"w": 3}, [1], {"w": {"dtype": "F32"}}):
        text = json.dumps(header).encode()
        (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
        with pytest.raises(ModelError, match="not a safetensors file"):
            safetensors_shapes(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", ["stories260K", "aidreams260K"])
def test_a_real_model_says_what_it_is_known_to_say(name: str, tiny_path: Path, tmp_path: Path) -> None:
    source = material(f"models/{name}")
    shutil.copytree(source, tmp_path / name)
    with pytest.raises(ModelError, match="no tokenizer"):
        find_base(str(tmp_path / name))
    for file in tiny_path.glob("tokenizer*"):  # the folder has none; what it says is compared in token ids
        shutil.copy(file, tmp_path / name)
    expected = json.loads((source / "expected_greedy.json").read_text())
    model = load_model(find_base(str(tmp_path / name)), "float32")
    ids, wanted = list(expected["prompt_ids"]), expected["greedy_ids"]
    with torch.inference_mode():
        while len(ids) < len(wanted):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    assert ids == wanted


def test_the_precision_asked_for_is_taken_and_auto_gives_its_reason() -> None:
    assert choose_precision("bfloat16", width=32, inner=64, rank=4).name == "bfloat16"
    assert "set in the recipe" in choose_precision("float32", width=32, inner=64, rank=4).reason
    chosen = choose_precision(None, width=32, inner=64, rank=4)
    assert chosen.layer_tokens_per_s > 0 and "as fast as" in chosen.reason


BITS: dict[str, dict[str, Any]] = {
    "bitsandbytes": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    "bitsandbytes, 8 bits": {"quantization_config": {"load_in_8bit": True}},
    "gptq, 4 bits": {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    "awq, 4 bits": {"quantization_config": {"quant_method": "awq", "w_bit": 4}},
    "compressed-tensors": {"compression_config": {"quant_method": "compressed-tensors"}},
    "fp8": {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
    "mxfp4": {"text_config": {"quantization_config": {"quant_method": "mxfp4"}}},
}


@pytest.mark.parametrize("method", BITS)
def test_a_quantised_base_is_refused_before_anything_is_planned(method: str, tiny_path: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny_path, tmp_path / "model-GPTQ-Int4", config=BITS[method])
    with pytest.raises(ModelError, match="base is quantised") as caught:
        find_base(str(folder))
    (problem,) = caught.value.problems
    assert (
        method in str(problem.value)
        and problem.hint == f"--base {tmp_path / 'model'}, if that holds the same model unquantised"
    )


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8, torch.float8_e4m3fn])
def test_quantised_weights_are_found_though_no_config_says_so(kind: torch.dtype, tiny_path: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny_path, tmp_path / "narrow")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.qweight"] = torch.zeros(8, 8).to(kind)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match="base is quantised") as caught:
        find_base(str(folder))
    assert "up_proj.qweight" in str(caught.value) and "unquantised form" in str(caught.value)


def test_whole_numbers_that_are_no_weights_do_not_make_a_base_quantised(tiny_path: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny_path, tmp_path / "older", config={"quantization_config": None})
    tensors = load_file(folder / "model.safetensors")
    tensors["model.attn.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.uint8)
    tensors["model.position_ids"] = torch.arange(8, dtype=torch.int32)[None]
    save_file(tensors, folder / "model.safetensors")
    assert find_base(str(folder)).weights


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"text_config": {"max_position_embeddings": 8192}, "max_position_embeddings": None}, 8192),
        ({"text_config": {"n_positions": 512}, "max_position_embeddings": 2048}, 512),
        ({"text_config": {}, "max_position_embeddings": 4096}, 4096),
        ({"max_position_embeddings": None}, 2048),
    ],
)
def test_the_context_is_that_of_the_language_model(
    config: dict[str, Any], context: int, tiny_path: Path, tmp_path: Path
) -> None:
    assert find_base(str(copy_base(tiny_path, tmp_path / "base", config=config))).context == context
