"""Quantised files have the types and the quality of llama.cpp's own quantiser; the importance matrix is what it says it is."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from gguf_models import folder_of, logits_of, token_ids
from safetensors.torch import load_file, save_file

from llama_cpp_library import LlamaCpp
from tunesmith.core.errors import ModelError
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.ship.gguf import QUANTS, QuantName, ggml, write_gguf, write_importance
from tunesmith.ship.gguf.importance import read_importance
from tunesmith.ship.gguf.quants import Depth, stored_type

WIDE: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 8, "num_key_value_heads": 2}
# Error of a matrix of normally distributed numbers, by the size of the numbers.
BOUNDS: dict[QuantName, float] = {
    "q6_k": 0.02, "q5_k_m": 0.045, "q5_k_s": 0.045, "q4_k_m": 0.09, "q4_k_s": 0.09, "q3_k_m": 0.18, "q5_0": 0.06, "q4_0": 0.12,
    "iq4_xs": 0.1, "iq4_nl": 0.1,
}  # fmt: skip
# Tensors of each type that `llama-quantize` (llama.cpp b10359) gave a Llama of 24 layers, 8 heads over 2, tied embeddings,
# without and with an importance matrix.
OF_LLAMA_QUANTIZE: dict[QuantName, tuple[dict[str, int], dict[str, int]]] = {
    "q6_k": ({"Q6_K": 169}, {"Q6_K": 169}),
    "q5_k_m": ({"Q5_K": 144, "Q6_K": 25}, {"Q5_K": 144, "Q6_K": 25}),
    "q5_k_s": ({"Q5_K": 168, "Q6_K": 1}, {"Q5_K": 168, "Q6_K": 1}),
    "q4_k_m": ({"Q4_K": 144, "Q6_K": 25}, {"Q4_K": 144, "Q6_K": 25}),
    "q4_k_s": ({"Q4_K": 161, "Q5_K": 7, "Q6_K": 1}, {"Q4_K": 161, "Q5_K": 7, "Q6_K": 1}),
    "q3_k_m": ({"Q3_K": 96, "Q4_K": 69, "Q5_K": 3, "Q6_K": 1}, {"Q3_K": 96, "Q4_K": 69, "Q5_K": 3, "Q6_K": 1}),
    "q5_0": ({"Q5_0": 168, "Q6_K": 1}, {"Q5_0": 165, "Q5_1": 3, "Q6_K": 1}),
    "q4_0": ({"Q4_0": 168, "Q6_K": 1}, {"Q4_0": 165, "Q4_1": 3, "Q6_K": 1}),
    "iq4_xs": ({"IQ4_XS": 141, "Q5_K": 27, "Q6_K": 1}, {"IQ4_XS": 144, "Q5_K": 24, "Q6_K": 1}),
    "iq4_nl": ({"IQ4_NL": 141, "Q5_K": 27, "Q6_K": 1}, {"IQ4_NL": 144, "Q5_K": 24, "Q6_K": 1}),
}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> BaseFolder:
    return folder_of("Llama, tied head", tmp_path_factory.mktemp("wide") / "model", **WIDE)


@pytest.fixture(scope="module")
def whole(wide: BaseFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(wide, tmp_path_factory.mktemp("whole") / "f32.gguf", quant="f32").path


@pytest.fixture(scope="module")
def importance(wide: BaseFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_importance(wide, [token_ids(60), token_ids(20)], tmp_path_factory.mktemp("made") / "importance.gguf").path


def matrix(file: Path, name: str = "blk.1.ffn_up.weight") -> np.ndarray[Any, Any]:
    tensor = next(tensor for tensor in GGUFReader(file).tensors if tensor.name == name)
    return np.asarray(dequantize(tensor.data, tensor.tensor_type))


@pytest.mark.parametrize("quant", BOUNDS)
def test_every_kind_keeps_near_the_weights_and_llama_cpp_computes_with_it(
    quant: QuantName, wide: BaseFolder, whole: Path, tmp_path: Path
) -> None:
    written = write_gguf(wide, tmp_path / "model.gguf", quant=quant)
    weights, rounded = matrix(whole), matrix(written.path)
    assert written.fallbacks == ()
    assert BOUNDS[quant] / 4 < np.linalg.norm(rounded - weights) / np.linalg.norm(weights) < BOUNDS[quant]
    expected, found = logits_of(wide, token_ids()), LlamaCpp(written.path).logits(token_ids())
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.7


@pytest.mark.parametrize("quant", OF_LLAMA_QUANTIZE)
@pytest.mark.parametrize("has_importance", [False, True])
def test_every_tensor_has_the_type_that_llama_quantize_gives_it(quant: QuantName, has_importance: bool) -> None:
    depth = Depth(24, sharing=4, is_tied=True, has_importance=has_importance)
    parts = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    names = ["token_embd.weight", *(f"blk.{layer}.{part}.weight" for layer in range(24) for part in parts)]
    found = Counter(stored_type(name, (512, 256), QUANTS[quant], depth)[0].name for name in names)
    assert found == Counter(OF_LLAMA_QUANTIZE[quant][has_importance])


def test_widths_that_are_not_a_multiple_of_the_block_fall_back_and_are_reported(tmp_path: Path) -> None:
    folder = folder_of("Llama, tied head", tmp_path / "model", hidden_size=64, intermediate_size=512)
    written = write_gguf(folder, tmp_path / "model.gguf", quant="q4_k_m")
    assert set(written.types) == {"Q5_0", "Q4_K", "Q6_K", "Q8_0", "F32"}
    assert len(written.fallbacks) == 12  # the six matrices of width 64, twice; ffn_down has 512 columns
    assert "blk.0.attn_q.weight" in written.fallbacks and "blk.0.ffn_down.weight" not in written.fallbacks
    assert written.bits_per_weight > 5.5


def test_the_importance_of_a_column_is_the_mean_square_of_its_input(wide: BaseFolder, importance: Path) -> None:
    model, inputs = load_model(wide, "float32"), []
    layer = model.model.layers[1].mlp.down_proj
    layer.register_forward_pre_hook(lambda module, given: inputs.append(given[0][0]))
    for row in (token_ids(60), token_ids(20)):
        model(torch.tensor([row]))
    expected = torch.cat(inputs).square().mean(0)
    found = read_importance(importance)
    assert set(found) >= {"blk.0.attn_q.weight", "blk.1.ffn_down.weight"} and len(found) == 14
    np.testing.assert_allclose(found["blk.1.ffn_down.weight"], expected, rtol=1e-5)


@pytest.mark.parametrize("quant", ["q4_k_m", "q4_0", "iq4_xs"])
def test_with_an_importance_matrix_the_columns_that_matter_lose_less(
    quant: QuantName, wide: BaseFolder, whole: Path, importance: Path, tmp_path: Path
) -> None:
    weights = read_importance(importance)["blk.1.ffn_up.weight"]

    def error(file: Path) -> float:
        return float((weights * (matrix(file) - matrix(whole)) ** 2).sum())

    plain = write_gguf(wide, tmp_path / "plain.gguf", quant=quant)
    weighed = write_gguf(wide, tmp_path / "weighed.gguf", quant=quant, importance=importance)
    assert error(weighed.path) < error(plain.path)


def test_fused_matrices_have_their_importance_too(tmp_path: Path) -> None:
    folder = folder_of("Phi-3", tmp_path / "model")
    found = read_importance(write_importance(folder, [token_ids(20)], tmp_path / "importance.gguf").path)
    assert set(found) >= {"blk.0.attn_qkv.weight", "blk.1.ffn_up.weight"}


def test_without_text_there_is_no_importance_matrix(wide: BaseFolder, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no text for an importance matrix"):
        write_importance(wide, [[]], tmp_path / "importance.gguf")


def test_a_file_without_importance_is_refused(wide: BaseFolder, tmp_path: Path) -> None:
    other = write_gguf(wide, tmp_path / "other.gguf", quant="f16").path
    with pytest.raises(ModelError, match="holds no importance matrix"):
        write_gguf(wide, tmp_path / "model.gguf", quant="q4_0", importance=other)


def test_without_the_library_the_package_to_install_is_named(
    wide: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ggml._library.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"llama\.cpp, which is not installed") as caught:
        write_gguf(wide, tmp_path / "model.gguf", quant="q4_k_m")
    assert caught.value.problems[0].hint == "pip install 'tunesmith[llama-cpp]'"
    assert list(tmp_path.iterdir()) == []
    write_gguf(wide, tmp_path / "model.gguf", quant="q8_0")


def with_weight(folder: BaseFolder, value: float) -> None:
    """The first weight of a matrix becomes `value`."""
    file = folder.weights[0]
    tensors = load_file(file)
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = value
    save_file(tensors, file, metadata={"format": "pt"})


def test_a_weight_beyond_float16_is_refused_and_fits_into_bfloat16(tmp_path: Path) -> None:
    folder = folder_of("Llama, tied head", tmp_path / "model")
    with_weight(folder, 70_000.0)
    with pytest.raises(ModelError, match=r"does not fit into float16: 'model\.layers\.0\.mlp\.up_proj\.weight'"):
        write_gguf(folder, tmp_path / "model.gguf", quant="f16")
    assert not (tmp_path / "model.gguf").exists()
    write_gguf(folder, tmp_path / "model.gguf", quant="bf16")


def test_a_weight_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    folder = folder_of("Llama, tied head", tmp_path / "model", **WIDE)
    with_weight(folder, float("nan"))
    for quant in ("f32", "q8_0", "q4_k_m"):
        with pytest.raises(ModelError):
            write_gguf(folder, tmp_path / "model.gguf", quant=quant)
    assert json.loads((folder.path / "config.json").read_bytes())["hidden_size"] == 256
