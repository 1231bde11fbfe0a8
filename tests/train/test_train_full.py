"""Full fine-tuning: all weights or those of the top layers move, and resuming does not change the result."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from fakes import make_base, train_tiny
from tunesmith.core.errors import ModelError, RecipeError
from tunesmith.models.load import find_base, load_model
from tunesmith.models.tuned import open_tuned
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.method import open_method
from tunesmith.train.padded import PaddedModel
from tunesmith.train.weights.kinds import begin
from tunesmith.train.weights.weights import Beginning

FULL = {"kind": "full"}
IDS = torch.tensor([[5, 40, 41, 42, 43, 6]])


def moved(base: Path, folder: Path) -> set[str]:
    before, after = load_file(base / "model.safetensors"), load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        made: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return made


def test_all_weights_move_and_transformers_opens_the_result_as_it_was_trained(tiny_path: Path, tmp_path: Path) -> None:
    trained = train_tiny(tiny_path, tmp_path, method=FULL)
    folder = tmp_path / "out" / "model"
    assert moved(tiny_path, folder) == set(load_file(tiny_path / "model.safetensors"))
    assert trained.coverage.share == 1.0 and trained.fitted.best_loss < 6
    ours = open_tuned(load_model(find_base(str(tiny_path)), "float32"), folder)
    assert torch.equal(logits(ours), logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)))


def test_only_the_top_layer_moves_where_the_recipe_says_so(tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path, method={**FULL, "layers": 1})
    names = moved(tiny_path, tmp_path / "out" / "model")
    assert names and all(".layers.1." in name for name in names)
    assert any("norm" in name for name in names)


def test_more_layers_than_there_are_is_refused(tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="more layers than the model has"):
        train_tiny(tiny_path, tmp_path, method={**FULL, "layers": 9})


def test_an_interrupted_run_ends_with_the_same_bytes(tiny_path: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_tiny(tiny_path, whole, method=FULL)
    train_tiny(tiny_path, parts, method=FULL)
    for folder in sorted((parts / "work" / "checkpoints").glob("step-*"))[1:]:  # as if killed after an earlier checkpoint
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    train_tiny(tiny_path, parts, method=FULL)
    same = [(place / "out" / "model" / "model.safetensors").read_bytes() for place in (whole, parts)]
    assert same[0] == same[1]


@pytest.mark.parametrize("tied", [True, False])
def test_gradients_are_those_of_the_plain_model(tied: bool, tmp_path: Path) -> None:
    from fakes import examples
    from tunesmith.models.chat import open_chat
    from tunesmith.models.packed.model import packed

    base = find_base(str(make_base(tmp_path / "base", tied=tied)))
    model = load_model(base, "float32")
    settings = recipe_from({"sources": ["./x"], "method": FULL}).method
    weights = begin(model, Beginning(base=base, settings=settings, rows=(), num_steps=1, seed=1))
    chat, method = open_chat(base), open_method("sft")
    units = method.prepare(examples(4), chat, max_tokens=256)
    found = []
    with packed(model) as lean:
        for reads in (lean, PaddedModel(model, chat.pad_id)):
            path = ExecutionPath(reads, "")
            method.loss(path, path.batch(units)).backward()  # type: ignore[no-untyped-call]
            named = dict(weights.model.named_parameters())
            found.append({name: p.grad.clone() for name, p in named.items() if p.grad is not None})
            assert len(found[-1]) == len(named)
            model.zero_grad(set_to_none=True)
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-4 * float(found[1][name].abs().max()))


@pytest.mark.parametrize(
    "name",
    [
        "rank",
        "alpha",
        "dropout",
        "targets",
        "quantise",
        "lora_plus",
        "init",
        "rank_pattern",
        "alpha_pattern",
        "from",
        "modules",
    ],
)
def test_knobs_of_an_adapter_are_refused_with_full(name: str) -> None:
    values = {"rank": 8, "alpha": 8.0, "dropout": 0.1, "targets": "mlp", "quantise": "nf4", "lora_plus": 16.0, "init": "pissa"}
    values |= {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"q_proj": 8.0}, "from": "run:latest", "modules": ["lm_head"]}
    with pytest.raises(RecipeError, match=f"method.{name} has no effect"):
        recipe_from({"sources": ["./x"], "method": {**FULL, name: values[name]}})
