"""A method's own head is trained, checkpointed and saved with the adapter, and reads the same hidden states on either path."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from safetensors.torch import load_file

from fakes import examples, train_tiny
from tunesmith.core.errors import ModelError
from tunesmith.models.adapters import attach
from tunesmith.models.chat import open_chat
from tunesmith.models.load import find_base, load_model
from tunesmith.models.packed.model import packed
from tunesmith.models.reach import choose_modules
from tunesmith.train import loop as loop_module
from tunesmith.train import methods
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.heads import HEAD_FILES, head_of, open_head, put_head
from tunesmith.train.method import open_method
from tunesmith.train.padded import PaddedModel

VALUED = '''"""A toy: a number for every target token, which should become one."""

import torch

from tunesmith.core.settings import Section
from tunesmith.core.records import Example
from tunesmith.train.units import Unit

__all__ = ["Method", "Settings"]


class Settings(Section):
    """No settings."""


class Method:
    """A unit is an example."""

    record = Example
    figures = {"loss": "lower"}
    loss_unit = "squared difference"

    def __init__(self, settings):
        self.settings = settings

    def head(self, width):
        return torch.nn.Linear(width, 1)

    def prepare(self, examples, chat, *, max_tokens):
        rows = [row for one in examples for row in chat.rows(one.messages, max_tokens=max_tokens)]
        return [Unit((row,), weight=sum(row.learned[1:])) for row in rows]

    def loss(self, forward, batch):
        return (forward.head(forward.hidden(batch).float())[:, 0] - 1).square().sum()

    def validate(self, forward, units, on_done):
        with torch.no_grad():
            return {"loss": sum(float(self.loss(forward, batch)) for batch in forward.batches(units, on_done)) / len(units)}
'''
KIND: dict[str, Any] = {"kind": "valued"}


@pytest.fixture
def valued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more file among the methods."""
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / "valued.py").write_text(VALUED)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])


def numbers(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.usefixtures("valued")
def test_a_head_is_trained_with_the_adapter_and_opens_as_it_was_saved(tiny_path: Path, tmp_path: Path) -> None:
    made = train_tiny(tiny_path, tmp_path, objective=KIND)
    folder = tmp_path / "out" / "adapter"
    rows = [orjson.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_bytes().splitlines()]
    losses = [row["val_loss"] for row in rows if "val_loss" in row]
    assert losses[-1] < 0.5 * losses[0] and made.figures["loss"] == min(losses)
    _, head = open_head(folder)
    assert isinstance(head, torch.nn.Linear) and not head.weight.requires_grad
    saved = load_file(folder / "head.safetensors")
    assert torch.equal(head.weight, saved["weight"]) and torch.equal(head.bias, saved["bias"])
    assert not any("head" in name for name in load_file(folder / "adapter_model.safetensors"))
    torch.manual_seed(7)
    assert not torch.allclose(torch.nn.Linear(head.in_features, 1).weight, head.weight)  # it has moved


@pytest.mark.usefixtures("valued")
def test_a_run_with_a_head_that_is_killed_ends_like_an_undisturbed_one(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_tiny(tiny_path, tmp_path / "whole", objective=KIND)
    real, calls = loop_module._step, []

    def dying(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*given, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop_module, "_step", dying)
        train_tiny(tiny_path, tmp_path / "killed", objective=KIND)
    train_tiny(tiny_path, tmp_path / "killed", objective=KIND)
    for name in (*HEAD_FILES, "adapter_model.safetensors"):
        assert numbers(tmp_path / "killed" / "out" / "adapter" / name) == numbers(tmp_path / "whole" / "out" / "adapter" / name)


@pytest.mark.usefixtures("valued")
def test_hidden_states_and_their_gradients_are_the_models_own_on_either_path(tiny_path: Path) -> None:
    base = find_base(str(tiny_path))
    chat, model = open_chat(base), load_model(base, "float32")
    model, _ = attach(model, kind="lora", rank=4, alpha=8.0, dropout=0.0, modules=choose_modules(model, "all", "all"), seed=3)
    method: Any = open_method("valued")
    put_head(model, method, seed=3)
    units = method.prepare(examples(3), chat, max_tokens=200)
    expected = []
    for unit in units:  # one row alone, through transformers' own way of giving hidden states
        (row,) = unit.rows
        with torch.no_grad():
            states = model(input_ids=torch.tensor([row.ids]), output_hidden_states=True, use_cache=False).hidden_states[-1][0]
        expected.append(states[[place - 1 for place, mark in enumerate(row.learned) if mark and place]])
    wanted_ND = torch.cat(expected)
    gradients = []
    with packed(model) as lean:
        for reads in (lean, PaddedModel(model, chat.pad_id)):
            path = ExecutionPath(reads, "", shares=False)
            batch = path.batch(units)
            assert float((path.hidden(batch) - wanted_ND).norm().detach()) <= 1e-5 * float(wanted_ND.norm())
            model.zero_grad()
            method.loss(path, batch).backward()
            moving = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
            assert "method_head.weight" in moving and any("lora_B" in name for name in moving)
            gradients.append(moving)
    trees, padded = gradients
    for name, grad in trees.items():
        assert float((grad - padded[name]).norm()) <= 1e-4 * float(padded[name].norm()) + 1e-9, name


@pytest.mark.usefixtures("valued")
@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_a_head_that_is_missing_or_damaged_is_an_error_in_four_parts(damage: str, tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path, objective=KIND, train={"max_steps": 1, "evaluate_every": 0})
    folder = tmp_path / "out" / "adapter"
    file = folder / "head.safetensors"
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-8])
    else:
        (folder / "head.json").write_bytes(orjson.dumps({"method": "sft", "width": 8}))
    with pytest.raises(ModelError) as caught:
        open_head(folder)
    (problem,) = caught.value.problems
    assert problem.value and problem.expected and problem.hint


def test_a_method_without_a_head_saves_none(tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path, train={"max_steps": 1, "evaluate_every": 0})
    assert not any((tmp_path / "out" / "adapter" / name).exists() for name in HEAD_FILES)
    model: Any = torch.nn.Linear(2, 2)
    with pytest.raises(AttributeError):
        head_of(model)
