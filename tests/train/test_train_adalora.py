"""AdaLoRA: ranks go where peft's own model puts them, what is saved is plain LoRA, and resuming changes nothing."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AdaLoraConfig, get_peft_model

from fakes import examples, train_tiny
from tunesmith.core.errors import RecipeError, TrainingError
from tunesmith.models.adapters import adapter_moves, open_adapter
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.foreign_adapters import checked_adapter
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.models.merge import merge
from tunesmith.models.packed.model import packed
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.sections.run import MethodConfig
from tunesmith.pipeline.training import adapter_facts
from tunesmith.train.padded import PaddedModel
from tunesmith.train.weights.kinds import begin
from tunesmith.train.weights.weights import Beginning, Weights

IDS = torch.tensor([[5, 40, 41, 42, 43, 6, 90, 91, 200]])
STEPS, RATE = 12, 2.0


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        made: torch.Tensor = model.eval()(input_ids=IDS, use_cache=False).logits
    return made


def begun(base: BaseFolder, steps: int = STEPS) -> Weights:
    settings = MethodConfig.model_validate({"kind": "adalora", "rank": 2, "alpha": 6.0, "dropout": 0.0})
    return begin(load_model(base, "float32"), Beginning(base=base, settings=settings, rows=(), num_steps=steps, seed=7))


def rows_of(chat: Chat) -> list[Encoded]:
    return [row for one in examples(3) for row in chat.rows(one.messages, max_tokens=200)]


def descend(model: Any) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.grad is not None:
                parameter -= RATE * parameter.grad


def learn(weights: Weights, chat: Chat, *, until: int = STEPS) -> None:
    """Steps of plain gradient descent, as the loop makes them."""
    assert weights.penalty is not None
    for number in range(1, until + 1):
        with packed(weights.model) as lean:
            loss = lean.loss(lean.lay_out(rows_of(chat))).div(100) + weights.penalty()
        loss.backward()  # type: ignore[no-untyped-call]
        descend(weights.model)
        weights.after_step(number)
        weights.model.zero_grad()


def values_of(model: Any) -> dict[str, torch.Tensor]:
    found = {name.split(".lora_A")[0]: p for name, p in model.named_parameters() if name.endswith(".values")}
    return found or {name.split(".lora_E")[0]: p for name, p in model.named_parameters() if ".lora_E." in name}


def test_ranks_and_values_are_those_of_pefts_own_model(tiny: BaseFolder, tiny_chat: Chat) -> None:
    ours = begun(tiny)
    given = dict(ours.model.named_parameters())
    config = AdaLoraConfig(
        init_r=3, target_r=2, lora_alpha=6.0, lora_dropout=0.0, tinit=1, tfinal=3, deltaT=1, total_step=STEPS,
        target_modules=sorted({name.rsplit(".", 1)[-1] for name in ours.modules}), task_type="CAUSAL_LM",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs = get_peft_model(load_model(tiny, "float32"), config)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if ".lora_A." in name:
                parameter.copy_(given[f"{name}.parametrizations.weight.original"])
            elif ".lora_B." in name:
                parameter.copy_(given[f"{name}.weight"])
    learn(ours, tiny_chat)
    for number in range(1, STEPS + 1):
        reads = PaddedModel(theirs, tiny_chat.pad_id)
        added = [model(input_ids=IDS, labels=IDS).loss for model in (theirs.base_model, theirs.base_model.model)]
        orthogonal = added[0] - added[1]  # peft adds its term to the loss that the model computes itself
        (reads.loss(reads.lay_out(rows_of(tiny_chat))).div(100) + orthogonal).backward()
        descend(theirs)
        theirs.base_model.update_and_allocate(number)
        theirs.zero_grad()
    found, expected = values_of(ours.model), values_of(theirs)
    assert found.keys() == expected.keys() and len(found) == 14
    assert all(torch.equal(found[name] == 0, expected[name] == 0) for name in found)
    assert sum(int((values != 0).sum()) for values in found.values()) == 2 * 14
    ours_all, theirs_all = (torch.cat([values[name].detach().flatten() for name in found]) for values in (found, expected))
    assert float((ours_all - theirs_all).norm()) <= 1e-3 * float(theirs_all.norm())


@pytest.mark.parametrize("until", [4, STEPS])
def test_it_begins_as_the_base_and_is_saved_as_plain_lora(
    until: int, tiny: BaseFolder, tiny_chat: Chat, tmp_path: Path
) -> None:
    weights, before = begun(tiny), logits(load_model(tiny, "float32"))
    assert torch.equal(logits(weights.model), before) and not weights.moved()
    learn(weights, tiny_chat, until=until)
    wanted = logits(weights.model)
    assert weights.moved() and float((wanted - before).abs().max()) > 1e-3
    weights.save(tmp_path / "adapter")
    with checked_adapter(tmp_path / "adapter") as folder:
        opened = open_adapter(load_model(tiny, "float32"), folder)
    torch.testing.assert_close(logits(opened), wanted, atol=1e-4, rtol=1e-4)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA" and config["rank_pattern"]
    merge(tiny, tmp_path / "adapter", tmp_path / "merged")


def test_one_that_did_not_learn_is_saved_as_one_that_does_nothing(tiny: BaseFolder, tmp_path: Path) -> None:
    begun(tiny).save(tmp_path)
    opened = open_adapter(load_model(tiny, "float32"), tmp_path)
    assert not adapter_moves(opened) and torch.equal(logits(opened), logits(load_model(tiny, "float32")))


def test_the_plan_counts_what_is_trained(tiny: BaseFolder) -> None:
    recipe = recipe_from({"sources": ["./x"], "method": {"kind": "adalora", "rank": 2}})
    coverage, model = begun(tiny).coverage, begun(tiny).model
    assert adapter_facts(tiny, recipe).trainable == coverage.num_trainable
    assert coverage.num_trainable == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_a_run_resumes_to_the_same_bytes_across_the_last_allocation(tiny_path: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"method": {"kind": "adalora", "rank": 2}}
    given |= {"train": {"max_steps": STEPS, "evaluate_every": 0, "checkpoint_every": 4}}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_tiny(tiny_path, whole, **given)
    assert "adalora rank 2 on average" in (whole / "out" / "report.html").read_text()
    shutil.copytree(whole / "work", parts / "work", ignore=shutil.ignore_patterns("step-00000012", "latest"))
    assert train_tiny(tiny_path, parts, **given).fitted.resumed_at == 8
    name = "adapter/adapter_model.safetensors"
    assert (whole / "out" / name).read_bytes() == (parts / "out" / name).read_bytes()


def test_the_logged_loss_is_that_of_the_rows_and_its_own_term_stands_beside(tiny_path: Path, tmp_path: Path) -> None:
    """Both kinds begin as the base, so that their first losses are the same; a norm near 3 would show in it."""
    first: dict[str, dict[str, float]] = {}
    for kind in ("adalora", "lora"):
        settings = {"max_steps": 10, "evaluate_every": 0}
        train_tiny(tiny_path, tmp_path / kind, method={"kind": kind, "dropout": 0.0}, train=settings)
        first[kind] = json.loads((tmp_path / kind / "out" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["adalora"]["loss"] == pytest.approx(first["lora"]["loss"], rel=1e-5)
    assert first["adalora"]["penalty"] > 0.5 and "penalty" not in first["lora"]


def test_state_puts_an_allocation_back(tiny: BaseFolder, tiny_chat: Chat) -> None:
    """Planted: without it, the ranks that are taken away later are others."""
    one, two, lost = begun(tiny), begun(tiny), begun(tiny)
    learn(one, tiny_chat, until=6)
    for other in (two, lost):
        with torch.no_grad():
            for mine, its in zip(other.model.parameters(), one.model.parameters(), strict=True):
                mine.copy_(its)
    for name, tensor in two.state().items():
        tensor.copy_(one.state()[name])
    found = []
    for weights in (one, two, lost):
        torch.manual_seed(3)
        for parameter in weights.model.parameters():
            parameter.grad = 1e-6 * torch.randn_like(parameter)
        weights.after_step(7)
        found.append(torch.cat([values.detach().flatten() for values in values_of(weights.model).values()]))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_a_run_too_short_for_it_is_refused(tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="needs steps in which to move ranks"):
        train_tiny(tiny_path, tmp_path, method={"kind": "adalora"}, train={"max_steps": 9})
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("name", ["lora_plus", "init", "rank_pattern", "alpha_pattern", "from", "modules"])
def test_knobs_of_plain_adapters_are_refused(name: str) -> None:
    values: dict[str, Any] = {
        "lora_plus": 16.0,
        "init": "pissa",
        "rank_pattern": {"q_proj": 8},
        "alpha_pattern": {"q_proj": 8.0},
    }
    values |= {"from": "run:latest", "modules": ["lm_head"]}
    with pytest.raises(RecipeError, match=rf"method\.{name} has no effect"):
        recipe_from({"sources": ["./x"], "method": {"kind": "adalora", name: values[name]}})
