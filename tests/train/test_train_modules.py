"""Embeddings and output matrix that are trained along: peft learns the same, the base stays, and every reader opens them."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from fakes import examples, make_base, train_tiny
from tunesmith.core.errors import ModelError, RecipeError
from tunesmith.models.adapters import adapter_moves, without_adapter
from tunesmith.models.chat import Encoded, open_chat
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.merge import merge
from tunesmith.models.packed.model import packed
from tunesmith.models.tuned import checked_tuned, open_tuned
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.sections.run import MethodConfig
from tunesmith.pipeline.training import adapter_facts
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.padded import PaddedModel
from tunesmith.train.weights.kinds import begin
from tunesmith.train.weights.weights import Beginning, Weights

pytestmark = [  # peft's own warnings
    pytest.mark.filterwarnings("ignore:.*(tie_word_embeddings|tied|embedding layer).*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
IDS = torch.tensor([[5, 40, 41, 42, 43, 6, 90, 91, 200]])
BOTH = ["embed_tokens", "lm_head"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, BaseFolder]:
    place = tmp_path_factory.mktemp("bases")
    return {tied: find_base(str(make_base(place / str(tied), tied=tied))) for tied in (True, False)}


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        made: torch.Tensor = model.eval()(input_ids=IDS, use_cache=False).logits
    return made


def rows_of(base: BaseFolder) -> list[Encoded]:
    return [row for one in examples(4) for row in open_chat(base).rows(one.messages, max_tokens=200)]


def begun(base: BaseFolder, **method: Any) -> Weights:
    settings = MethodConfig.model_validate({"rank": 4, "alpha": 8.0, "dropout": 0.0, "modules": BOTH} | method)
    return begin(load_model(base, "float32"), Beginning(base=base, settings=settings, rows=(), num_steps=3, seed=7))


def step(model: Any, loss: torch.Tensor) -> None:
    loss.div(100).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
                parameter.grad = None


def trained(base: BaseFolder, **method: Any) -> Weights:
    weights = begun(base, **method)
    for _ in range(2):
        with packed(weights.model) as lean:
            step(weights.model, lean.loss(lean.lay_out(rows_of(base))))
    return weights


@pytest.mark.parametrize("tied", [True, False])
def test_on_token_trees_it_learns_what_peft_learns(tied: bool, bases: dict[bool, BaseFolder]) -> None:
    base = bases[tied]
    first, plain = begun(base).model, load_model(base, "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = LoraConfig(r=4, lora_alpha=8.0, target_modules="all-linear", task_type="CAUSAL_LM", modules_to_save=list(BOTH))
        config.ensure_weight_tying = tied
        theirs = get_peft_model(plain, config)
    own = dict(first.named_parameters())
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_" in name:
                parameter.copy_(own[name])
    found: list[dict[str, torch.Tensor]] = []
    with packed(first) as lean:
        for model, reads in ((first, ExecutionPath(lean, "").reads), (theirs, PaddedModel(theirs, 0))):
            reads.loss(reads.lay_out(rows_of(base))).backward()  # type: ignore[no-untyped-call, arg-type]
            named = {name.replace("modules_to_save.default.", ""): p.grad for name, p in model.named_parameters()}
            found.append({name: gradient for name, gradient in named.items() if gradient is not None})
    assert found[0].keys() == found[1].keys() and sum("lora_" not in name for name in found[0]) == (1 if tied else 2)
    for name, gradient in found[0].items():
        assert float((gradient - found[1][name]).norm()) <= 1e-4 * float(found[1][name].norm()), name


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("names", [BOTH, ["embed_tokens"], ["lm_head"]])
def test_the_base_stays_and_every_reader_opens_what_was_trained(
    names: list[str], tied: bool, bases: dict[bool, BaseFolder], tmp_path: Path
) -> None:
    base = bases[tied]
    before = logits(load_model(base, "float32"))
    weights = trained(base, modules=names)
    wanted = logits(weights.model)
    assert weights.moved() and float((wanted - before).abs().max()) > 0.1
    with weights.model.disable_adapter():
        assert torch.equal(logits(weights.model), before)
    assert torch.equal(logits(weights.model), wanted)
    weights.save(tmp_path / "adapter")
    saved = [name for name in load_file(tmp_path / "adapter" / "adapter_model.safetensors") if "lora_" not in name]
    assert len(saved) == (2 if tied else len(names))  # of a tied one, peft wants both names
    peft = PeftModel.from_pretrained(load_model(base, "float32"), tmp_path / "adapter")
    torch.testing.assert_close(logits(peft), wanted)
    with checked_tuned(tmp_path / "adapter") as folder:
        opened = open_tuned(load_model(base, "float32"), folder)
    torch.testing.assert_close(logits(opened), wanted, atol=1e-3, rtol=1e-3)
    assert adapter_moves(opened)
    with without_adapter(opened) as plain:
        assert torch.equal(logits(plain), before)
    made = merge(base, tmp_path / "adapter", tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    torch.testing.assert_close(logits(merged), wanted, atol=1e-3, rtol=1e-3)
    assert not made.untied and merged.config.tie_word_embeddings == tied


@pytest.mark.parametrize("tied", [True, False])
def test_the_plan_counts_what_moves(tied: bool, bases: dict[bool, BaseFolder]) -> None:
    recipe = recipe_from({"sources": ["./x"], "method": {"rank": 4, "modules": BOTH}})
    facts, coverage = adapter_facts(bases[tied], recipe), begun(bases[tied]).coverage
    assert (facts.trainable, dict(facts.out_of_reach)) == (coverage.num_trainable, dict(coverage.out_of_reach))
    without = adapter_facts(bases[tied], recipe_from({"sources": ["./x"], "method": {"rank": 4}}))
    assert facts.trainable - without.trainable == 384 * 32 * (1 if tied else 2)
    assert without.out_of_reach["embeddings and head"] and "embeddings and head" not in facts.out_of_reach


def test_an_adapter_that_parts_what_the_base_ties_is_not_opened_beside_it(
    bases: dict[bool, BaseFolder], tmp_path: Path
) -> None:
    """Planted: an output matrix of its own, as peft trains it without being told that they are tied."""
    trained(bases[True]).save(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "ensure_weight_tying": False, "modules_to_save": BOTH}))
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor * (2 if "lm_head" in name else 1) for name, tensor in tensors.items()}, weights)
    with pytest.raises(ModelError, match="parts the output matrix"):
        open_tuned(load_model(bases[True], "float32"), tmp_path / "adapter")


def test_a_run_resumes_to_the_same_bytes_and_says_what_moved(bases: dict[bool, BaseFolder], tmp_path: Path) -> None:
    given: dict[str, Any] = {"method": {"modules": BOTH}}
    given |= {"train": {"max_steps": 2, "evaluate_every": 0, "checkpoint_every": 1}}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_tiny(bases[True].path, whole, **given)
    assert "with embed_tokens and lm_head" in (whole / "out" / "report.html").read_text()
    shutil.copytree(whole / "work", parts / "work", ignore=shutil.ignore_patterns("step-00000002", "latest"))
    assert train_tiny(bases[True].path, parts, **given).fitted.resumed_at == 1
    name = "adapter/adapter_model.safetensors"
    assert (whole / "out" / name).read_bytes() == (parts / "out" / name).read_bytes()


@pytest.mark.parametrize("name", ["q_proj", "norm", "embed"])
def test_what_is_neither_embeddings_nor_output_matrix_is_refused(name: str, bases: dict[bool, BaseFolder]) -> None:
    with pytest.raises(ModelError, match="names no embeddings and no output matrix") as caught:
        begun(bases[False], modules=["lm_head", name])
    assert "embed_tokens, lm_head" in str(caught.value)


def test_with_another_start_it_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"method\.modules has no effect"):
        recipe_from({"sources": ["./x"], "method": {"from": "run:latest", "modules": BOTH}})
