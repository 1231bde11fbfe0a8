"""Optimisers: each one trains, keeps its state through a kill, and says what it needs."""

from __future__ import annotations

import builtins
import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fakes import train_tiny
from tunesmith.core.errors import RecipeError, TrainingError
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.training import check_optimizer
from tunesmith.plan.memory import MOMENTS
from tunesmith.train import loop as loop_module
from tunesmith.train.optimizer import Optimizer, Rates, open_optimizer, optimizer_names, optimizer_settings
from tunesmith.train.optimizer_state import optimizer_tensors, restore_optimizer
from tunesmith.train.optimizers import adamw

NEEDS_GPU = "paged_adamw_8bit"
EVERYWHERE = [name for name in optimizer_names() if name != NEEDS_GPU]
LIBRARIES = {"adamw_8bit": "bitsandbytes", "lion": "lion_pytorch", "schedule_free": "schedulefree"}
WIDE = {"rank": 64}  # so that matrices of the tiny base have the 4,096 numbers from which moments take 8 bits
RUN = {"max_steps": 6, "evaluate_every": 2, "checkpoint_every": 3}


class Two(torch.nn.Module):
    """A matrix, an embedding and a norm: what optimisers treat differently."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(80, 64)
        self.inner = torch.nn.Linear(64, 72)
        self.head = torch.nn.Linear(72, 80, bias=False)
        self.device = torch.device("cpu")

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head


def opened(kind: str, model: torch.nn.Module, *, rate: float = 0.01, decay: float = 0.0, **options: Any) -> Optimizer:
    groups = [{"params": list(model.parameters())}]
    return open_optimizer(kind, options, model=model, groups=groups, rates=Rates(rate, decay))


def steps(model: torch.nn.Module, optimizer: Optimizer, numbers: range, *, rate: float = 0.01) -> None:
    """Steps whose gradients depend on the number of the step and on the weights alone."""
    for number in numbers:
        torch.manual_seed(number)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter) + 0.1 * parameter.detach()
        optimizer.set_rate(rate * (1 + number) / 4)  # a rising one, as in a warm-up
        optimizer.step()
        optimizer.zero_grad()


def tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- state ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_the_state_of_every_optimiser_goes_through_names_and_tensors_to_the_bit(kind: str) -> None:
    whole, cut, again = Two(), Two(), Two()
    steps(whole, opened(kind, whole), range(8))
    first = opened(kind, cut)
    steps(cut, first, range(5))
    saved = optimizer_tensors(first, {p: n for n, p in cut.named_parameters()})
    assert all(isinstance(value, torch.Tensor) for value in saved.values())
    again.load_state_dict(cut.state_dict())
    second = opened(kind, again)
    restore_optimizer(second, {p: n for n, p in again.named_parameters()}, {k: v.clone() for k, v in saved.items()})
    steps(again, second, range(5, 8))
    assert equal(tensors(again), tensors(whole))


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_a_state_that_is_not_put_back_would_be_noticed(kind: str) -> None:
    whole, cut = Two(), Two()
    steps(whole, opened(kind, whole), range(8))
    steps(cut, opened(kind, cut), range(5))
    steps(cut, opened(kind, cut), range(5, 8))
    assert not equal(tensors(cut), tensors(whole))


def test_moments_of_eight_bits_take_a_quarter_of_the_memory() -> None:
    size = {}
    for kind in ("adamw", "adamw_8bit"):
        model = Two()
        optimizer = opened(kind, model)
        steps(model, optimizer, range(1))
        names: dict[torch.Tensor, str] = {p: n for n, p in model.named_parameters()}
        matrices = {n: t for n, t in optimizer_tensors(optimizer, names).items() if n.startswith("inner.weight/")}
        size[kind] = sum(t.numel() * t.element_size() for t in matrices.values())
    assert size["adamw_8bit"] < 0.27 * size["adamw"]


BAD_STATES = {
    "does not fit": {"other/step": torch.tensor(1.0)},
    "the shape of its tensor": {"a/exp_avg": torch.zeros(3)},
    "lacks the optimiser's state of a tensor": {"a/exp_avg": torch.zeros(2)},
}


@pytest.mark.parametrize("words", BAD_STATES)
def test_optimiser_state_that_is_missing_or_of_another_tensor_is_an_error(words: str) -> None:
    a, b = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(TrainingError, match=words):
        restore_optimizer(Optimizer((torch.optim.AdamW([a, b]),)), {a: "a", b: "b"}, BAD_STATES[words])


def test_scales_of_eight_bits_with_another_shape_are_an_error() -> None:
    model = Two()
    optimizer = opened("adamw_8bit", model)
    steps(model, optimizer, range(1))
    names: dict[torch.Tensor, str] = {p: n for n, p in model.named_parameters()}
    saved = optimizer_tensors(optimizer, names)
    saved["inner.weight/absmax1"] = torch.zeros(3)
    with pytest.raises(TrainingError, match="does not fit"):
        restore_optimizer(opened("adamw_8bit", model), names, saved)


# --- runs -------------------------------------------------------------------------------------------------------------


class Kill(BaseException):
    """As good as SIGKILL for everything that happens in this process."""


def result(place: Path) -> list[str]:
    names = ("adapter/adapter_model.safetensors", "metrics.jsonl")
    return [hashlib.sha256((place / "out" / name).read_bytes()).hexdigest() for name in names]


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_a_killed_run_ends_with_the_same_bytes_under_every_optimiser(
    kind: str, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = {**RUN, "optimizer": kind, "weight_decay": 0.01, "learning_rate": 1e-3 if kind == "lion" else 1e-2}
    assert train_tiny(tiny_path, tmp_path / "whole", train=train, method=WIDE).fitted.best_step > 0
    step, calls = loop_module._step, 0

    def dying(*given: Any, **how: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise Kill
        return step(*given, **how)

    with monkeypatch.context() as patch, pytest.raises(Kill):
        patch.setattr(loop_module, "_step", dying)
        train_tiny(tiny_path, tmp_path / "cut", train=train, method=WIDE)
    again = train_tiny(tiny_path, tmp_path / "cut", train=train, method=WIDE)
    assert again.fitted.resumed_at == 3
    assert result(tmp_path / "cut") == result(tmp_path / "whole")


OPTIONS: dict[str, dict[str, Any]] = {
    "adamw": {"beta1": 0.5, "beta2": 0.5, "epsilon": 1e-2},
    "adamw_8bit": {"beta1": 0.5, "beta2": 0.5, "epsilon": 1e-2},
    "lion": {"beta1": 0.5, "beta2": 0.1},
    "muon": {"momentum": 0.5, "nesterov": False, "newton_steps": 2, "scale": "original"}
    | {"beta1": 0.5, "beta2": 0.5, "epsilon": 1e-2},
    "schedule_free": {"beta1": 0.5, "beta2": 0.5, "epsilon": 1e-2, "power": 0.0},
}


@pytest.mark.parametrize(("kind", "option"), [(kind, option) for kind, every in OPTIONS.items() for option in every])
def test_every_knob_of_an_optimiser_changes_what_is_learned(kind: str, option: str) -> None:
    usual, changed = Two(), Two()
    steps(usual, opened(kind, usual), range(4))
    steps(changed, opened(kind, changed, **{option: OPTIONS[kind][option]}), range(4))
    assert not equal(tensors(usual), tensors(changed))


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_weight_decay_and_the_rate_of_a_group_reach_every_optimiser(kind: str) -> None:
    usual, decayed, scaled = Two(), Two(), Two()
    steps(usual, opened(kind, usual), range(3))
    steps(decayed, opened(kind, decayed, decay=0.5), range(3))
    groups = [{"params": list(scaled.parameters()), "rate_scale": 4.0}]
    steps(scaled, open_optimizer(kind, {}, model=scaled, groups=groups, rates=Rates(0.01, 0.0)), range(3))
    assert not equal(tensors(usual), tensors(decayed)) and not equal(tensors(usual), tensors(scaled))


def test_every_optimiser_is_tested_here() -> None:
    assert {*OPTIONS, NEEDS_GPU} == {*optimizer_names()}
    for kind, options in OPTIONS.items():
        assert set(options) == set(type(optimizer_settings(kind)).model_fields)


# --- muon: matrices inside the model, and the rest --------------------------------------------------------------------


def test_muon_moves_inner_matrices_and_leaves_embeddings_head_and_biases_to_adamw() -> None:
    model = Two()
    muon, adamw = opened("muon", model).parts
    assert [p is model.inner.weight for group in muon.param_groups for p in group["params"]] == [True]
    rest = {p for group in adamw.param_groups for p in group["params"]}
    assert rest == {model.table.weight, model.inner.bias, model.head.weight}


def test_a_step_of_muon_has_the_size_of_one_of_adamw() -> None:
    moved = {}
    for kind in ("muon", "adamw"):
        model = Two()
        before = model.inner.weight.detach().clone()
        steps(model, opened(kind, model), range(1))
        moved[kind] = float((model.inner.weight.detach() - before).pow(2).mean().sqrt())
    assert 0.1 < moved["muon"] / moved["adamw"] < 0.4  # the paper's factor of 0.2, as a step of AdamW is below its rate later


def test_muon_without_a_matrix_is_refused() -> None:
    model = Two()
    with pytest.raises(TrainingError, match="muon has nothing to do"):
        open_optimizer("muon", {}, model=model, groups=[{"params": [model.inner.bias]}], rates=Rates(0.01, 0.0))


# --- schedule-free: the average is the result -------------------------------------------------------------------------


def test_validations_and_the_result_are_of_the_average_and_training_goes_on_from_what_it_left() -> None:
    model = Two()
    optimizer = opened("schedule_free", model)
    assert len(optimizer.parts) == 1
    averages: list[torch.Tensor] = []
    for number in range(4):
        steps(model, optimizer, range(number, number + 1))
        before = tensors(model)
        with optimizer.settled():
            averages.append(model.inner.weight.detach().clone())
            assert not equal(tensors(model), before) or number == 0
        assert equal(tensors(model), before)
    untouched = Two()
    steps(untouched, opened("schedule_free", untouched), range(4))
    assert equal(tensors(model), tensors(untouched))


def test_what_is_saved_of_a_schedule_free_run_is_the_average_that_was_validated(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = {"max_steps": 4, "evaluate_every": 4, "optimizer": "schedule_free", "checkpoint_every": 4}
    train_tiny(tiny_path, tmp_path, train=train)
    saved = load_file(tmp_path / "out" / "adapter" / "adapter_model.safetensors")
    last = sorted((tmp_path / "work" / "checkpoints").glob("step-*"))[-1]
    trained = {name.replace(".default", ""): t for name, t in load_file(last / "trained.safetensors").items()}
    best = {name.replace(".default", ""): t for name, t in load_file(last / "best.safetensors").items() if "other/" not in name}
    assert equal(saved, best) and not equal(saved, trained)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "library"), LIBRARIES.items())
def test_a_library_that_is_missing_is_named_with_what_installs_it(
    kind: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    plain = builtins.__import__

    def importing(name: str, *given: Any, **how: Any) -> Any:
        if name.partition(".")[0] == library:
            raise ImportError(f"No module named '{name}'")
        return plain(name, *given, **how)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(TrainingError) as caught:
        opened(kind, Two())
    assert "No module named" in str(caught.value) and "tunesmith[optimizers]" in str(caught.value)


def test_pages_need_a_gpu_and_the_hint_names_what_has_the_same_states(tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="needs a GPU") as caught:
        train_tiny(tiny_path, tmp_path, train={"optimizer": NEEDS_GPU})
    assert "optimizer=adamw_8bit" in str(caught.value) and not (tmp_path / "work" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"optimizer": "adam"}, "wrong value for train.optimizer"),
        ({"optimizer": "lion", "optimizer_settings": {"epsilon": 1e-8}}, "unknown setting"),
        ({"optimizer_settings": {"beta2": 1.5}}, "wrong value for train.optimizer_settings.beta2"),
    ],
)
def test_an_optimiser_or_a_setting_that_does_not_exist_is_refused_before_anything_is_read(
    train: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        check_optimizer(recipe_from({"sources": ["./posts"], "train": train}))
    assert caught.value.problems[0].what == words and caught.value.problems[0].hint


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_the_plan_counts_what_an_optimizer_keeps_of_a_matrix(kind: str) -> None:
    model = torch.nn.Linear(256, 512, bias=False)
    model.get_output_embeddings = torch.nn.Identity  # type: ignore[assignment]
    model.device = torch.device("cpu")  # type: ignore[assignment]
    optimizer = opened(kind, model)
    steps(model, optimizer, range(1))
    kept = [t for part in optimizer.parts for state in part.state.values() for t in state.values() if torch.is_tensor(t)]
    assert sum(t.nbytes for t in kept) == pytest.approx(4 * MOMENTS[kind] * model.weight.numel(), rel=0.05)
    assert {*MOMENTS} == {*optimizer_names()}


def test_moments_have_the_type_of_their_tensors_as_the_plan_counts_them() -> None:
    model = Two().to(torch.bfloat16)
    optimizer = opened("adamw", model)
    steps(model, optimizer, range(1))
    state = optimizer.parts[0].state[model.inner.weight]
    assert state["exp_avg"].dtype == state["exp_avg_sq"].dtype == torch.bfloat16


def test_whole_models_take_the_step_of_adamw_in_one_pass_and_adapters_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def stepped() -> tuple[Any, torch.Tensor]:
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(40, 30))
        optimizer = open_optimizer("adamw", {}, model=None, groups=[{"params": [weight]}], rates=Rates(0.01, 0.1))
        for _ in range(3):
            weight.grad = torch.randn(40, 30)
            optimizer.step()
        return optimizer.parts[0].defaults["fused"], weight.detach()

    plain, one = stepped()
    monkeypatch.setattr(adamw, "_FUSED_ABOVE", 1_000)
    fused, other = stepped()
    assert plain is None and fused is True
    assert torch.allclose(one, other, atol=1e-6)
