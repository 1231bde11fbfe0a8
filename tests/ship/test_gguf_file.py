"""A GGUF file is written whole or not at all, and what cannot be written right is refused."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from gguf_models import folder_of, token_ids
from safetensors.torch import load_file, save_file

from llama_cpp_library import LlamaCpp
from tunesmith.core.errors import ModelError, StorageError
from tunesmith.core.files import sha256_file
from tunesmith.models.load import BaseFolder, find_base
from tunesmith.ship.gguf import Facts, tensors, write_gguf


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> BaseFolder:
    return folder_of("Llama, tied head", tmp_path_factory.mktemp("base") / "model")


def changed(folder: BaseFolder, place: Path, **settings: Any) -> BaseFolder:
    """The same folder elsewhere, with other keys in config.json."""
    shutil.copytree(folder.path, place)
    file = place / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **settings}))
    return find_base(str(place), offline=True)


def settings_of(file: Path) -> dict[str, Any]:
    return {key: field.contents() for key, field in GGUFReader(file).fields.items()}


@pytest.mark.parametrize("name", ["../model.gguf", "deep/../../model.gguf", "model.bin", ".hidden.gguf"])
def test_a_name_that_leaves_its_folder_or_is_no_gguf_file_is_refused(name: str, folder: BaseFolder, tmp_path: Path) -> None:
    place = tmp_path / "inside"
    with pytest.raises(StorageError, match="not a name for a GGUF file"):
        write_gguf(folder, place / name, quant="f16")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_written_over(folder: BaseFolder, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").mkdir()
    with pytest.raises(StorageError, match="a folder of this name"):
        write_gguf(folder, tmp_path / "model.gguf", quant="f16")


def test_without_room_on_the_disk_nothing_is_written(
    folder: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    with pytest.raises(StorageError, match="no room on the disk for the GGUF file"):
        write_gguf(folder, tmp_path / "model.gguf", quant="f16")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_half_way_leaves_the_file_that_was_there(
    folder: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write_gguf(folder, tmp_path / "model.gguf", quant="f16")
    own = tensors.FolderTensor.read

    def break_in_layer_1(self: tensors.FolderTensor) -> Any:
        if self.name.startswith("blk.1."):
            raise OSError(28, "No space left on device")
        return own(self)

    monkeypatch.setattr(tensors.FolderTensor, "read", break_in_layer_1)
    with pytest.raises(StorageError, match="the disk is full while writing a GGUF file"):
        write_gguf(folder, tmp_path / "model.gguf", quant="q8_0")
    assert [file.name for file in tmp_path.iterdir()] == ["model.gguf"]
    assert sha256_file(tmp_path / "model.gguf") == before.sha256


def test_the_hash_that_is_given_finds_a_changed_byte(folder: BaseFolder, tmp_path: Path) -> None:
    written = write_gguf(folder, tmp_path / "model.gguf", quant="f16")
    data = bytearray(written.path.read_bytes())
    assert (written.size_bytes, written.sha256) == (len(data), sha256_file(written.path))
    data[len(data) // 2] ^= 1
    written.path.write_bytes(data)
    assert sha256_file(written.path) != written.sha256


def test_writing_twice_gives_the_same_bytes(folder: BaseFolder, tmp_path: Path) -> None:
    made = [write_gguf(folder, tmp_path / f"{i}.gguf", quant="q4_0", facts=Facts(name="same")) for i in range(2)]
    assert made[0].sha256 == made[1].sha256


def test_missing_weights_are_named(folder: BaseFolder, tmp_path: Path) -> None:
    for lost, named in (
        ("model.layers.1.mlp.up_proj.weight", "ffn_up.weight of some layers"),
        ("model.norm.weight", "output_norm"),
    ):
        place = tmp_path / lost
        shutil.copytree(folder.path, place)
        weights = load_file(place / "model.safetensors")
        del weights[lost]
        save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelError, match="weights of the model are missing") as caught:
            write_gguf(find_base(str(place), offline=True), tmp_path / "model.gguf", quant="f16")
        assert named in str(caught.value)


def test_a_tensor_that_is_not_known_is_named(folder: BaseFolder, tmp_path: Path) -> None:
    shutil.copytree(folder.path, tmp_path / "odd")
    weights = load_file(tmp_path / "odd" / "model.safetensors")
    weights["model.vision.patch.weight"] = weights["model.norm.weight"].clone()
    save_file(weights, tmp_path / "odd" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"no place in a GGUF file: 'model\.vision\.patch\.weight'"):
        write_gguf(find_base(str(tmp_path / "odd"), offline=True), tmp_path / "model.gguf", quant="f16")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"hidden_act": "gelu"}, "activation function"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "rope_type"),
        (
            {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}},
            "partial_rotary_factor",
        ),
    ],
)
def test_settings_that_llama_cpp_would_run_as_another_model_are_refused(
    settings: dict[str, Any], named: str, folder: BaseFolder, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=f"llama.cpp does not know this {named}"):
        write_gguf(changed(folder, tmp_path / "other", **settings), tmp_path / "model.gguf", quant="f16")


def test_a_scaled_attention_that_llama_cpp_lacks_is_refused(tmp_path: Path) -> None:
    folder = folder_of("Gemma 2", tmp_path / "model", query_pre_attn_scalar=64)
    with pytest.raises(ModelError, match="query_pre_attn_scalar"):
        write_gguf(folder, tmp_path / "model.gguf", quant="f16")


def test_a_sliding_window_that_llama_cpp_lacks_limits_the_context_and_is_reported(tmp_path: Path) -> None:
    folder = folder_of("Mistral", tmp_path / "model", sliding_window=128)
    written = write_gguf(folder, tmp_path / "model.gguf", quant="f16")
    assert any("set to the window, 128 of 512 tokens" in text for text in written.differences)
    assert LlamaCpp(written.path).trained_context() == 128


def test_more_ends_than_a_file_has_room_for_are_refused(folder: BaseFolder, tmp_path: Path) -> None:
    shutil.copytree(folder.path, tmp_path / "ends")
    file = tmp_path / "ends" / "generation_config.json"
    file.write_text(json.dumps({"eos_token_id": [7, 4, 5]}))
    three = write_gguf(find_base(str(tmp_path / "ends"), offline=True), tmp_path / "model.gguf", quant="f16")
    assert LlamaCpp(three.path).ends(range(384)) == {3, 4, 5, 7}
    file.write_text(json.dumps({"eos_token_id": [7, 4, 5, 6]}))
    with pytest.raises(ModelError, match="stops at more tokens than a GGUF file has room for"):
        write_gguf(find_base(str(tmp_path / "ends"), offline=True), tmp_path / "model.gguf", quant="f16")


def test_the_file_says_what_it_is_and_where_it_comes_from(folder: BaseFolder, tmp_path: Path) -> None:
    facts = Facts(
        name="anna-voice",
        author="Anna",
        licence="apache-2.0",
        description="In Anna's voice.",
        bases=[("SmolLM2-135M-Instruct", "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct")],
        tags=["tunesmith"],
        settings={"tunesmith.run": "617b61baf7cb1274"},
    )
    found = settings_of(write_gguf(folder, tmp_path / "model.gguf", quant="q8_0", facts=facts).path)
    assert {key.removeprefix("general."): value for key, value in found.items() if key.startswith("general.")} == {
        "architecture": "llama",
        "type": "model",
        "name": "anna-voice",
        "author": "Anna",
        "license": "apache-2.0",
        "description": "In Anna's voice.",
        "base_model.count": 1,
        "base_model.0.name": "SmolLM2-135M-Instruct",
        "base_model.0.repo_url": "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        "tags": ["tunesmith"],
        "size_label": "86K",
        "file_type": 7,
        "quantization_version": 2,
    }
    assert found["tunesmith.run"] == "617b61baf7cb1274"


def test_a_name_never_makes_llama_cpp_take_the_model_for_a_phi_3(folder: BaseFolder, tmp_path: Path) -> None:
    """By `phi-3` in the name llama.cpp drops spaces after control tokens, and fails on a vocabulary that is not Phi-3's."""
    written = write_gguf(folder, tmp_path / "model.gguf", quant="f16", facts=Facts(name="my-Phi-3-notes"))
    assert settings_of(written.path)["general.name"] == "my-Phi 3-notes"
    assert np.isfinite(LlamaCpp(written.path).logits(token_ids())).all()


@pytest.mark.parametrize("settings", [{"vocab_size": 390}, {"hidden_size": 96}])
def test_a_configuration_of_another_size_than_the_weights_is_refused(
    settings: dict[str, int], folder: BaseFolder, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="declares another size"):
        write_gguf(changed(folder, tmp_path / "b", **settings), tmp_path / "x.gguf", quant="f16")
    assert not (tmp_path / "x.gguf").exists()
