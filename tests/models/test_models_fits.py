"""Promise: a base whose files do not belong together is refused before the first step, with what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakes import Told, copy_base, examples, make_base
from tunesmith.api.recipes import recipe_from
from tunesmith.core.errors import ModelError, Problem
from tunesmith.core.records import to_json
from tunesmith.models.load import check_fit, find_base, load_model
from tunesmith.pipeline.project import Project

Weights = dict[str, torch.Tensor]
_LAYER = "model.layers.1."


def _without(*names: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: value for name, value in weights.items() if not any(part in name for part in names)}


def _renamed(weights: Weights) -> Weights:
    return {name.replace("self_attn", "attention"): value for name, value in weights.items()}


def _narrower(weights: Weights) -> Weights:
    return {name: value[:, :16].clone() if name.endswith("up_proj.weight") else value for name, value in weights.items()}


def _fewer_tokens(weights: Weights) -> Weights:
    return {name: value[:300].clone() if "embed_tokens" in name else value for name, value in weights.items()}


CONFIGS: dict[str, tuple[Mapping[str, Any], str, str]] = {
    "unknown architecture": ({"model_type": "lama"}, "does not know the architecture", "model_type lama"),
    "no architecture": ({"model_type": None}, "does not know the architecture", "has no model_type"),
    "not a language model": ({"model_type": "vit"}, "not a language model that continues a text", "model_type vit"),
    "reads and then writes": ({"model_type": "t5"}, "not a language model that continues a text", "model_type t5"),
    "another architecture": ({"model_type": "gpt2"}, "", ""),
    "wider": ({"hidden_size": 64}, "do not fit its config.json", "in the file and"),
    "wider inside": (
        {"intermediate_size": 128},
        "do not fit its config.json",
        "32 × 64 in the file and 32 × 128 by config.json",
    ),
    "other heads": ({"num_key_value_heads": 4}, "do not fit its config.json", "(4 tensors in all)"),
    "more tokens": ({"vocab_size": 400}, "do not fit its config.json", "384 × 32 in the file and 400 × 32"),
    "more layers": ({"num_hidden_layers": 3}, "weights of the base are missing", "model.layers.2."),
    "fewer layers": ({"num_hidden_layers": 1}, "holds layers that its config.json does not have", "model.layers.1."),
    "no head of its own": ({"tie_word_embeddings": False}, "weights of the base are missing", "lm_head.weight"),
    "a text for a number": ({"hidden_size": "wide"}, "cannot open the base model", ""),
    "no heads": ({"num_attention_heads": 0}, "cannot open the base model", ""),
    "an activation that is not one": ({"hidden_act": "nonesuch"}, "cannot open the base model", "nonesuch"),
}
FILES: dict[str, tuple[Callable[[Weights], Weights], str, str]] = {
    "a tensor is missing": (_without(_LAYER + "mlp.up_proj"), "weights of the base are missing", _LAYER + "mlp.up_proj.weight"),
    "the embedding is missing": (_without("embed_tokens"), "weights of the base are missing", ""),
    "a layer is missing": (_without(_LAYER), "weights of the base are missing", "(9 tensors in all)"),
    "other names": (_renamed, "weights of the base are missing", "self_attn"),
    "a narrow matrix": (_narrower, "do not fit its config.json", "64 × 16 in the file and 64 × 32 by config.json"),
    "fewer tokens than the tokenizer": (_fewer_tokens, "do not fit its config.json", "300 × 32"),
}


def damaged(base: Path, folder: Path, fault: str) -> Path:
    copy_base(base, folder, config=dict(CONFIGS[fault][0]) if fault in CONFIGS else None)
    if fault in FILES:
        file = folder / "model.safetensors"
        save_file(FILES[fault][0](load_file(file)), file, metadata={"format": "pt"})
    return folder


def refused(ask: Callable[[], object]) -> Problem:
    with pytest.raises(ModelError) as caught:
        ask()
    problem = caught.value.problems[0]
    assert problem.what and problem.value and problem.expected and problem.hint
    assert "\n" not in f"{problem.what}{problem.value}{problem.expected}" and "ignore_mismatched" not in str(problem)
    return problem


@pytest.mark.parametrize("fault", [*CONFIGS, *FILES])
def test_a_base_that_does_not_fit_is_refused_when_it_is_checked_and_when_it_is_opened(
    fault: str, tiny_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = find_base(str(damaged(tiny_path, tmp_path / "bad", fault)))
    _, what, value = (CONFIGS | FILES)[fault]
    for ask in (lambda: check_fit(base), lambda: load_model(base, "float32")):
        problem = refused(ask)
        assert what in problem.what and value in f"{problem.value}{problem.expected}", problem
    assert "LOAD REPORT" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("fault", [*CONFIGS, *FILES])
def test_plan_refuses_it_before_anything_is_trained(fault: str, tiny_path: Path, tmp_path: Path) -> None:
    damaged(tiny_path, tmp_path / "bad", fault)
    (tmp_path / "rows.jsonl").write_bytes(b"".join(to_json(row) + b"\n" for row in examples(30)))
    recipe = {"base": str(tmp_path / "bad"), "sources": [str(tmp_path / "rows.jsonl")], "build": {"dedup": 0}}
    made = Project(recipe_from(recipe), tmp_path, reporter=Told(), offline=True)
    refused(lambda: made.plan)
    assert not list((tmp_path / ".tunesmith").glob("runs/*"))


def test_a_base_that_fits_is_opened_and_the_check_leaves_logging_as_it_was(tiny_path: Path, tmp_path: Path) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity()
    check_fit(find_base(str(tiny_path)))
    assert logging.get_verbosity() == before
    for number, how in enumerate(({"tied": False}, {"architecture": "phi3"})):
        base = find_base(str(make_base(tmp_path / str(number), **how)))  # type: ignore[arg-type]
        check_fit(base)
        assert load_model(base, "float32").training is False


def test_a_head_that_differs_where_there_should_be_none_is_refused_and_a_copy_is_not(tiny_path: Path, tmp_path: Path) -> None:
    two = make_base(tmp_path / "two", tied=False)
    problem = refused(lambda: check_fit(find_base(str(copy_base(two, tmp_path / "one", config={"tie_word_embeddings": True})))))
    assert "a head of its own" in problem.what and "lm_head.weight differs from model.embed_tokens.weight" in str(problem.value)
    folder = copy_base(tiny_path, tmp_path / "copy")
    file = folder / "model.safetensors"
    weights = load_file(file)
    save_file(weights | {"lm_head.weight": weights["model.embed_tokens.weight"].clone()}, file, metadata={"format": "pt"})
    check_fit(find_base(str(folder)))


def test_tensors_that_the_model_has_no_place_for_are_no_fault(tiny_path: Path, tmp_path: Path) -> None:
    """As a vision tower, or buffers that older versions stored."""
    folder = copy_base(tiny_path, tmp_path / "more")
    file = folder / "model.safetensors"
    more = {
        "model.vision_tower.patch.weight": torch.zeros(4, 4),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4),
    }
    save_file(load_file(file) | more, file, metadata={"format": "pt"})
    base = find_base(str(folder))
    check_fit(base)
    assert torch.equal(
        load_model(base, "float32").model.norm.weight, load_model(find_base(str(tiny_path)), "float32").model.norm.weight
    )


def test_the_message_of_the_command_is_in_four_parts(
    tiny_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tunesmith.cli.main import main

    damaged(tiny_path, tmp_path / "bad", "more layers")
    (tmp_path / "rows.jsonl").write_bytes(b"".join(to_json(row) + b"\n" for row in examples(30)))
    with pytest.raises(SystemExit) as caught:
        main(
            [
                "plan",
                "--base",
                str(tmp_path / "bad"),
                "--source",
                str(tmp_path / "rows.jsonl"),
                "--project",
                str(tmp_path / "p"),
            ]
        )
    said = capsys.readouterr().err
    assert caught.value.code == 1 and "hint:" in said and "weights of the base are missing" in said and "Traceback" not in said
    assert json.loads((tmp_path / "bad" / "config.json").read_text())["num_hidden_layers"] == 3


def test_no_bar_of_the_library_is_drawn_while_a_base_is_opened(tiny_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    logging.enable_progress_bar()
    check_fit(find_base(str(tiny_path)))
    logging.enable_progress_bar()
    load_model(find_base(str(tiny_path)), "float32")
    assert "Loading" not in capfd.readouterr().err
