"""KTO computes the published loss over whole batches, whatever parts they are learned in, and tells good answers from bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from test_train_preferences import Prepared, gradient, measured, referenced, sigmoid

from fakes import preferences, train_tiny
from tunesmith.core.errors import TrainingError
from tunesmith.core.labelled import Labelled, labelled_of
from tunesmith.core.records import Preference
from tunesmith.models.chat import Chat
from tunesmith.models.packed.model import packed
from tunesmith.train import loop as loop_module
from tunesmith.train.execution import ExecutionPath
from tunesmith.train.method import open_method
from tunesmith.train.signals import SignalledBatches
from tunesmith.train.units import Batch


@pytest.fixture(scope="module")
def prepared(tiny_path: Path) -> Prepared:
    return Prepared(tiny_path)


def labelled(rows: list[Preference]) -> list[Labelled]:
    """One answer of each row: the chosen one of every other row, the rejected one of the others."""
    return [labelled_of(row)[n % 2] for n, row in enumerate(rows)]


def published_kto(model: Any, chat: Chat, rows: list[Labelled], *, beta: float, weights: tuple[float, float]) -> torch.Tensor:
    """Section 4.1 of Ethayarajh et al. 2024, with the answer of the row before as the other answer, summed over the rows."""
    with torch.no_grad():
        others = [measured(model, chat, row.prompt, rows[n - 1].completion) for n, row in enumerate(rows)]
        kl = max(0.0, float(torch.stack([other.ratio for other in others]).mean()))
    total = torch.zeros((), dtype=torch.float64)
    for row in rows:
        reward = measured(model, chat, row.prompt, row.completion).ratio
        value = sigmoid(beta * (reward - kl)) if row.label else sigmoid(beta * (kl - reward))
        total = total + weights[0 if row.label else 1] * (1 - value)
    return total


@pytest.mark.parametrize("beta", [0.1, -0.1])  # the second: an adapter that moves the other way, for which the KL is zero
def test_ktos_loss_is_the_published_one_and_its_kl_that_of_the_whole_batch(beta: float, prepared: Prepared) -> None:
    model, chat, rows = prepared.model, prepared.chat, labelled(prepared.rows)
    if beta < 0:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.neg_()
    method: Any = open_method("kto", {"beta": 0.1, "desirable_weight": 1.3, "undesirable_weight": 0.7})
    expected = published_kto(model, chat, rows, beta=0.1, weights=(1.3, 0.7))
    wanted = gradient(model, expected)
    with packed(model) as lean:
        path = ExecutionPath(lean, "trees", shares=True)
        units = referenced(method, path, method.prepare(rows, chat, max_tokens=500))

        class Source:  # a batch in three parts
            def at(self, index: int) -> list[Batch]:
                return [path.batch(units[:2]), path.batch(units[2:3]), path.batch(units[3:])]

            def shrink(self) -> bool:
                return False

        parts = SignalledBatches(Source(), method, path).at(0)
        loss = torch.stack([method.loss(path, part) for part in parts]).sum()
        figures = method.validate(path, units, lambda _: None)
        ours = gradient(model, loss)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert float((ours - wanted).norm()) <= 1e-4 * float(wanted.norm())
    assert figures["loss"] == pytest.approx(float(expected.detach()) / 5, rel=1e-5)
    assert len({unit.signal[1] for part in parts for unit in part.units}) == 1


def test_the_other_answer_of_kto_is_one_to_another_prompt(prepared: Prepared) -> None:
    rows = [one for row in prepared.rows for one in labelled_of(row)]
    method: Any = open_method("kto")
    units = method.prepare(rows, prepared.chat, max_tokens=500)
    for number, (row, unit) in enumerate(zip(rows, units, strict=True)):
        said = [token for token, mark in zip(unit.only_scored[0].ids, unit.only_scored[0].learned, strict=True) if mark]
        before = rows[(number - (1 if number % 2 == 0 else 2)) % len(rows)]
        assert prepared.chat.decode(said) == before.completion and before.prompt != row.prompt
        begin = unit.rows[0].learned.index(True)
        assert unit.only_scored[0].ids[:begin] == unit.rows[0].ids[:begin]


def test_a_kto_run_tells_good_answers_from_bad_ones_and_resumes_to_the_same_bytes(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual: dict[str, Any] = {
        "objective": {"kind": "kto", "options": {"beta": 0.3}},
        "rows": labelled(preferences(20)),
        "train": {"max_steps": 8, "tokens_at_once": 200},
    }
    train_tiny(tiny_path, tmp_path / "whole", **usual)
    log = [orjson.loads(line) for line in (tmp_path / "whole" / "out" / "metrics.jsonl").read_bytes().splitlines()]
    seen = [row for row in log if "val_loss" in row]
    assert seen[0]["val_loss"] == pytest.approx(0.5) and seen[0]["val_kl"] == 0
    assert seen[-1]["val_label_accuracy"] == 1 and seen[-1]["val_loss"] < 0.4
    real, calls = loop_module._step, []

    def dying(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(*given, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop_module, "_step", dying)
        train_tiny(tiny_path, tmp_path / "killed", **usual)
    train_tiny(tiny_path, tmp_path / "killed", **usual)
    one, other = ((tmp_path / place / "out" / "adapter" / "adapter_model.safetensors") for place in ("whole", "killed"))
    assert one.read_bytes() == other.read_bytes()


def test_kto_refuses_a_split_of_one_row(tiny_chat: Chat) -> None:
    with pytest.raises(TrainingError, match="answers of other prompts") as caught:
        open_method("kto").prepare(labelled(preferences(1)), tiny_chat, max_tokens=500)
    assert caught.value.problems[0].hint
