"""The sampling settings on disk: what transformers reads is how the evaluation drew, whatever the base's own file says."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from fakes import copy_base
from tunesmith.core.errors import ModelError
from tunesmith.core.records import to_json
from tunesmith.models.load import find_base
from tunesmith.models.merge import merge
from tunesmith.models.use import GREEDY_USE, Use, generation_fields, read_use

WARM = Use(temperature=0.7, top_p=0.9, repetition_penalty=1.1, draws=3, seed=7)


def test_settings_are_read_as_they_were_written_and_a_broken_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "use.json").write_bytes(to_json({**json.loads(to_json(WARM)), "candidates": []}))
    assert read_use(tmp_path / "use.json") == WARM
    (tmp_path / "use.json").write_text('{"temperature": "warm"}')
    with pytest.raises(ModelError, match="sampling settings cannot be read"):
        read_use(tmp_path / "use.json")


def test_greedy_settings_need_one_draw_and_say_greedy() -> None:
    assert (GREEDY_USE.num_draws, GREEDY_USE.words, WARM.num_draws) == (1, "greedy", 3)
    penalised = Use(temperature=0.0, top_p=1.0, repetition_penalty=1.1, draws=3, seed=7)
    assert (
        penalised.words == "greedy with repetition penalty 1.1" and not penalised.is_plain_greedy and penalised.num_draws == 1
    )


@pytest.mark.parametrize("use", [WARM, GREEDY_USE], ids=["drawn", "greedy"])
def test_a_merged_model_draws_by_itself_as_the_evaluation_did(
    use: Use, tiny_path: Path, trained_adapter: Path, tmp_path: Path
) -> None:
    base = copy_base(tiny_path, tmp_path / "base")
    own = {"do_sample": True, "temperature": 0.2, "top_k": 3, "min_p": 0.4, "no_repeat_ngram_size": 2, "bos_token_id": 2}
    (base / "generation_config.json").write_text(json.dumps(own))
    folder = find_base(str(base))
    merge(folder, trained_adapter, tmp_path / "merged", generation=generation_fields(use, own))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = GenerationConfig.from_pretrained(tmp_path / "merged")
    assert config.do_sample is (use.temperature > 0) and config.repetition_penalty == use.repetition_penalty
    if use.temperature:
        assert (config.temperature, config.top_p, config.top_k) == (0.7, 0.9, 0)
    assert not config.min_p and not config.no_repeat_ngram_size
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    asked = {"generation_config": None, "max_new_tokens": 8}
    once, twice = (_said(model, seed, **asked) for seed in (1, 2))
    assert (once == twice) is (use.temperature == 0)


def _said(model: torch.nn.Module, seed: int, **how: object) -> list[int]:
    torch.manual_seed(seed)
    ids = torch.tensor([[5, 40, 41, 42]])
    made: list[int] = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **how)[0].tolist()  # type: ignore[operator]
    return made
