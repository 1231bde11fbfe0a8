"""Every architecture that is written as GGUF gives transformers' numbers in llama.cpp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf_models import MODELS, folder_of, logits_of, token_ids

from llama_cpp_library import LlamaCpp
from tunesmith.core.errors import ModelError
from tunesmith.ship.gguf import QuantName, write_gguf

EXACT = 2e-4  # of the largest logit: float32 sums in another order
WITH_GELU = 1e-3  # llama.cpp takes GELU from a table in float16
BOUNDS: dict[QuantName, float] = {"f16": 0.01, "bf16": 0.06, "q8_0": 0.1}


@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_computes_the_logits_of_transformers(name: str, tmp_path: Path) -> None:
    folder = folder_of(name, tmp_path / "model")
    written = write_gguf(folder, tmp_path / "model.gguf", quant="f32")
    ids = token_ids()
    expected, found = logits_of(folder, ids), LlamaCpp(written.path).logits(ids)
    bound = WITH_GELU if name.startswith("Gemma") else EXACT
    assert np.abs(found - expected).max() < bound * np.abs(expected).max()


@pytest.mark.parametrize("quant", BOUNDS)
def test_smaller_types_stay_within_their_rounding(quant: QuantName, tmp_path: Path) -> None:
    folder = folder_of("Llama, tied head", tmp_path / "model")
    written = write_gguf(folder, tmp_path / "model.gguf", quant=quant)
    expected, found = logits_of(folder, token_ids()), LlamaCpp(written.path).logits(token_ids())
    assert 0 < np.abs(found - expected).max() < BOUNDS[quant] * np.abs(expected).max()


def test_an_architecture_that_is_not_known_is_refused_with_those_that_are(tmp_path: Path) -> None:
    folder = folder_of("Llama, tied head", tmp_path / "model")
    folder.config["architectures"] = ["FalconForCausalLM"]
    with pytest.raises(ModelError, match="this architecture cannot be written as GGUF: 'FalconForCausalLM'") as caught:
        write_gguf(folder, tmp_path / "model.gguf", quant="f16")
    assert "Qwen3ForCausalLM" in caught.value.problems[0].expected
    assert not (tmp_path / "model.gguf").exists()
