"""Elastic weight consolidation: the penalty is the published one in the space of effective weights, and it holds them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from fakes import examples, train_tiny
from tunesmith.core.errors import TrainingError
from tunesmith.models.chat import Chat, Encoded, open_chat
from tunesmith.models.load import find_base, load_model
from tunesmith.pipeline.sections.run import MethodConfig, TrainConfig
from tunesmith.train import consolidation
from tunesmith.train.consolidation import importances, moving_penalty
from tunesmith.train.settings import TrainSettings, identifying
from tunesmith.train.weights.kinds import begin
from tunesmith.train.weights.weights import Beginning, Weights


def weights_of(path: Path, kind: str) -> Weights:
    """Weights on the tiny base, some way from their start."""
    base = find_base(str(path))
    settings: Any = MethodConfig.model_validate({"kind": kind, "rank": 4, "alpha": 6.0, "dropout": 0.0})
    made = begin(load_model(base, "float32"), Beginning(base=base, settings=settings, rows=(), num_steps=1, seed=7))
    return made


def move(weights: Weights) -> None:
    draw = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for name, parameter in weights.model.named_parameters():
            if parameter.requires_grad and "lora_A" not in name:
                parameter += 0.02 * torch.randn(parameter.shape, generator=draw)


def rows_of(chat: Chat) -> list[Encoded]:
    return [chat.answer_row(one.messages) for one in examples(9)]


def by_hand(path: Path, rows: list[Encoded], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of squares of one linear layer's output gradients and inputs, row by row, on the base alone, per target token."""
    model = load_model(find_base(str(path)), "float32").eval()
    layer = model.get_submodule(name)
    seen: dict[str, torch.Tensor] = {}
    layer.register_forward_hook(lambda m, inputs, output: seen.update(x=inputs[0], y=output))
    model.requires_grad_(True)
    outputs, inputs, targets, tokens = torch.zeros(()), torch.zeros(()), 0, 0
    for row in rows:
        ids = torch.tensor([row.ids])
        logits = model(input_ids=ids).logits[0, :-1]
        log_p = torch.log_softmax(logits, -1).gather(1, logits.argmin(-1)[:, None])[:, 0]
        marked = torch.tensor(row.learned[1:])
        (grad,) = torch.autograd.grad(-log_p[marked].sum(), seen["y"])
        outputs, inputs = outputs + grad[0].square().sum(0), inputs + seen["x"].detach()[0].square().sum(0)
        targets, tokens = targets + int(marked.sum()), tokens + len(row.ids)
    return outputs / targets, inputs / tokens


@pytest.mark.parametrize("kind", ["lora", "rslora", "full"])
def test_the_penalty_is_half_the_fisher_weighted_square_of_what_the_weights_changed(
    kind: str, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the targets, here the least likely tokens."""
    monkeypatch.setattr(consolidation, "_drawn", lambda logits, draw: logits.argmin(-1))
    chat = open_chat(find_base(str(tiny_path)))
    weights = weights_of(tiny_path, kind)
    base = {
        name: parameter.detach().clone()
        for name, parameter in load_model(find_base(str(tiny_path)), "float32").named_parameters()
    }
    penalty = moving_penalty(weights, chat, examples(9), weight=3.0, max_tokens=500)
    assert penalty is not None and float(penalty().detach()) == 0
    move(weights)
    found = penalty()
    found.backward()  # type: ignore[no-untyped-call]
    ours = torch.cat([p.grad.flatten() for p in weights.model.parameters() if p.grad is not None])
    weights.model.zero_grad()

    expected = torch.zeros(())
    for name, weight in base.items():
        module = name.removesuffix(".weight")
        if not ("proj" in name and name.endswith(".weight")):
            continue
        outputs, inputs = by_hand(tiny_path, rows_of(chat), module)
        if kind == "full":
            change = weights.model.get_parameter(name) - weight
        else:
            layer = weights.model.get_submodule(f"base_model.model.{module}")
            change = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        expected = expected + 0.5 * 3.0 * (outputs[:, None] * inputs * change.square()).sum()
    expected.backward()  # type: ignore[no-untyped-call]
    wanted = torch.cat([p.grad.flatten() for p in weights.model.parameters() if p.grad is not None])
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    assert float((ours - wanted).norm()) <= 1e-4 * float(wanted.norm())


def test_targets_are_drawn_from_the_distribution_itself() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0]).expand(20_000, 3)
    draws = [consolidation._drawn(logits, torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*draws)
    shares = torch.bincount(draws[0], minlength=3) / 20_000
    assert torch.allclose(shares, torch.softmax(logits[0], -1), atol=0.02)


def test_measuring_leaves_the_model_as_it_was(tiny_path: Path) -> None:
    chat, weights = open_chat(find_base(str(tiny_path))), weights_of(tiny_path, "lora")
    weights.model.train()
    before = importances(weights.model, rows_of(chat), list(weights.changes()), pad_id=chat.pad_id)  # type: ignore[misc]
    assert all(p.grad is None for p in weights.model.parameters()) and weights.model.training
    assert not any(module._forward_hooks for module in weights.model.modules())
    move(weights)  # of the base, whatever the adapter is
    after = importances(weights.model, rows_of(chat), list(before), pad_id=chat.pad_id)
    assert all(torch.equal(before[name].output_I, after[name].output_I) for name in before)


def log_of(place: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (place / "out" / "metrics.jsonl").read_bytes().splitlines()]


def test_a_run_that_is_held_moves_less_and_continues_to_the_same_bytes(tiny_path: Path, tmp_path: Path) -> None:
    """Whatever parts a step is computed in, the penalty counts once."""
    first: dict[str, list[float]] = {}
    penalties: dict[str, list[Any]] = {}
    for name, train in {"free": {}, "held": {"ewc": 30.0}, "parts": {"ewc": 30.0, "tokens_at_once": 80}}.items():
        settings = {"max_steps": 4, "learning_rate": 0.01, "evaluate_every": 0} | train
        train_tiny(tiny_path, tmp_path / name, train=settings, method={"dropout": 0.0}, general=examples(9))
        steps = [row for row in log_of(tmp_path / name) if "loss" in row]
        first[name], penalties[name] = [row["loss"] for row in steps], [row.get("penalty") for row in steps]
    assert first["free"][0] == first["held"][0]  # nothing has moved yet
    assert first["held"][-1] > first["free"][-1] + 0.01
    assert first["parts"] == pytest.approx(first["held"], rel=1e-4)
    assert penalties["free"] == [None] * 4 and penalties["held"][0] == 0 < penalties["held"][-1]
    assert penalties["parts"] == pytest.approx(penalties["held"], rel=1e-3)


def test_what_cannot_be_held_is_refused_before_the_first_step(tiny_path: Path, tmp_path: Path) -> None:
    for train, method, general, what in (
        ({"ewc": 1.0}, {"kind": "dora"}, examples(9), "of this kind"),
        ({"ewc": 1.0}, {}, examples(3), "answers of the base"),
    ):
        with pytest.raises(TrainingError, match=what) as caught:
            train_tiny(tiny_path, tmp_path, train=train, method=method, general=general)
        assert caught.value.problems[0].hint and not (tmp_path / "work" / "metrics.jsonl").exists()


def test_no_penalty_is_the_run_that_it_was(tiny_path: Path) -> None:
    assert "ewc" not in identifying(TrainConfig(), TrainSettings)
    assert identifying(TrainConfig(ewc=2.0), TrainSettings)["ewc"] == 2.0
    weights = replace(weights_of(tiny_path, "lora"), changes=None)
    assert moving_penalty(weights, open_chat(find_base(str(tiny_path))), (), weight=0.0, max_tokens=9) is None
