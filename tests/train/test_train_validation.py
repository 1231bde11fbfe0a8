"""Validation is said, small at first, and ends promptly where a stop is asked for, with nothing lost."""

from __future__ import annotations

import errno
import math
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from safetensors.torch import load_file

from fakes import Told, examples, train_tiny
from tunesmith.core.disk import Disk
from tunesmith.core.errors import Interrupted, StorageError
from tunesmith.core.reporter import Progress, SilentReporter
from tunesmith.models.chat import Chat
from tunesmith.train import run as run_module
from tunesmith.train import validation as validation_module
from tunesmith.train.best import Best
from tunesmith.train.checkpoint import State
from tunesmith.train.kept import Joined, OnDisk
from tunesmith.train.methods import sft as sft_module
from tunesmith.train.processes import ALONE, Alone
from tunesmith.train.stop import stop_requests
from tunesmith.train.validation import Said, Validation, Validator, agreed, bits_of_a_nat, holding

STEPS = {"max_steps": 4, "evaluate_every": 2, "checkpoint_every": 2}


class Heard(Told):
    """A reporter that keeps the texts beside its bars, and the names of these."""

    def __init__(self) -> None:
        super().__init__()
        self.bars: list[str] = []
        self.texts: list[str] = []

    def progress(self, name: str, *, total: float, unit: str, done: float = 0) -> Progress:
        self.bars.append(f"{name} {total:.0f} {unit}")
        bar = SilentReporter().progress(name, total=total, unit=unit, done=done)
        bar.advance = lambda amount=1, text=None: self.texts.append(text or "")  # type: ignore[method-assign]
        return bar


def log(place: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (place / "work" / "metrics.jsonl").read_bytes().splitlines()]


def begin_small(patch: pytest.MonkeyPatch) -> None:
    """Four validation rows are many."""
    patch.setattr(validation_module, "FIRST_UNITS", 2)


def test_the_first_validation_of_many_rows_is_small_and_a_phase_of_its_own(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_small(monkeypatch)
    original, rows = sft_module.Method.validate, list[int]()
    monkeypatch.setattr(
        sft_module.Method, "validate", lambda m, f, val, done: (rows.append(len(val)), original(m, f, val, done))[1]
    )
    told = Heard()
    train_tiny(tiny_path, tmp_path, train=STEPS, reporter=told)
    assert told.bars[:2] == ["first validation 2 rows", "train 4 steps"]
    assert rows == [2, 4, 4, 4]  # before step 1; at step 2 the untrained model and the trained one; at the end
    assert "validation at step 2: 4/4 rows" in told.texts and "sample answers at step 2" in told.texts


def test_a_small_first_validation_changes_no_number_of_the_run(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_tiny(tiny_path, tmp_path / "whole", train=STEPS)
    begin_small(monkeypatch)
    train_tiny(tiny_path, tmp_path / "small", train=STEPS)

    def in_order(place: Path) -> list[dict[str, Any]]:
        return sorted(log(place), key=lambda row: (row["step"], "val_loss" in row))

    assert in_order(tmp_path / "small") == in_order(tmp_path / "whole")
    small, whole = (load_file(tmp_path / n / "out/adapter/adapter_model.safetensors") for n in ("small", "whole"))
    assert all(torch.equal(small[name], whole[name]) for name in whole)


@pytest.mark.parametrize("small", [False, True])
def test_no_best_step_is_told_before_there_is_one(
    small: bool, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:
        begin_small(monkeypatch)
    told = Heard()
    train_tiny(tiny_path, tmp_path, train=STEPS, reporter=told)
    shown = [text for text in told.texts if text.startswith("loss ")]
    first = [text for text in shown if text.endswith("before anything is learned")]
    assert len(first) == small
    shown = [text for text in shown if text not in first]
    assert len(shown) == 4 and not any("inf" in text or "-1" in text for text in shown)
    assert [("best at" in text) for text in shown] == [not small, not small, True, True]


def asking(number: int, monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    """A stop is asked for at call `number` of a validation's batches or of its generation passes; what happened after it."""
    calls, after = 0, list[str]()
    owner: Any = sft_module.Method if name == "validate" else run_module
    original = getattr(owner, name)

    def watched(*given: Any) -> Any:
        *rest, on_done = given

        def note(count: int) -> None:
            nonlocal calls
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGTERM)
            on_done(count)
            if calls >= number:
                after.append(name)

        return original(*rest, note)

    monkeypatch.setattr(owner, name, watched)
    return after


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize(
    ("name", "number"), [("validate", 1), ("validate", 2), ("validate", 3), ("_samples", 1), ("_samples", 12)]
)
def test_a_stop_during_validation_is_answered_at_once_and_the_resumed_run_is_the_undisturbed_one(
    name: str, number: int, small: bool, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:
        begin_small(monkeypatch)
    train_tiny(tiny_path, tmp_path / "undisturbed", train=STEPS)
    with monkeypatch.context() as patch:
        after = asking(number, patch, name)
        with pytest.raises(Interrupted) as caught:
            train_tiny(tiny_path, tmp_path / "stopped", train=STEPS)
    assert caught.value.exit_code == 128 + signal.SIGTERM and not after
    assert sorted((tmp_path / "stopped" / "work" / "checkpoints").glob("step-*"))
    train_tiny(tiny_path, tmp_path / "stopped", train=STEPS)
    for file in ("adapter/adapter_model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "stopped/out" / file).read_bytes() == (tmp_path / "undisturbed/out" / file).read_bytes()


def test_a_validation_that_does_not_listen_would_be_noticed(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = asking(1, monkeypatch, "validate")
    monkeypatch.setattr(validation_module.Stop, "check", lambda stop: None)
    with pytest.raises(Interrupted):
        train_tiny(tiny_path, tmp_path, train=STEPS, rows=examples(20))
    assert after


def test_held_tensors_come_back_to_the_bit_even_after_an_error() -> None:
    weights = {"a": torch.tensor([1.0, 2.0])}
    with pytest.raises(ValueError), holding(weights, {"a": torch.zeros(2)}):
        assert weights["a"].sum() == 0
        raise ValueError
    assert weights["a"].tolist() == [1.0, 2.0]


def test_the_best_weights_are_held_and_saved_once_where_both_figures_agree() -> None:
    figures: Any = {"loss": "lower", "accuracy": "higher"}
    best, state = Best.starting("loss", figures, 0.0, {"w": torch.zeros(2)}), State()
    for step, (loss, accuracy, once) in enumerate([(1.0, 0.5, True), (0.9, 0.4, False), (0.8, 0.6, True)]):
        weights = {"w": torch.full((2,), float(step))}
        best.update({"loss": loss, "accuracy": accuracy}, state, weights, step=step)
        assert (best.other is best.chosen) == once
        assert set(best.tensors()) == ({"w"} if once else {"w", "other/w"})
        again = Best.starting("loss", figures, 0.0, best.tensors())
        assert torch.equal(again.chosen["w"], best.chosen["w"]) and torch.equal(again.other["w"], best.other["w"])
    assert torch.equal(best.chosen["w"], torch.full((2,), 2.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_weights_that_are_kept_in_files_are_the_same_bytes_and_go_when_nobody_needs_them(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    changing = {"a": torch.arange(6).reshape(2, 3).to(dtype), "b": torch.ones(0, dtype=dtype)}
    files = OnDisk(tmp_path / "best")
    first = files.keep(changing)
    expected = {name: tensor.clone() for name, tensor in changing.items()}
    changing["a"].add_(1)
    second = files.keep(changing)
    assert set(first) == {"a", "b"} and len(first) == 2 and "c" not in first
    assert all(torch.equal(first[name], tensor) and first[name].dtype == dtype for name, tensor in expected.items())
    both = Joined(first, second, "other/")
    assert set(both) == {"a", "b", "other/a", "other/b"} and torch.equal(both["other/a"], changing["a"])
    files.drop_all_but(second)
    assert len(list((tmp_path / "best").iterdir())) == 1 and torch.equal(second["a"], changing["a"])
    OnDisk(tmp_path / "best")  # of an earlier process: a checkpoint holds them too
    assert not list((tmp_path / "best").iterdir())


def test_a_disk_that_takes_no_best_weights_is_an_error_that_says_what_is_safe(tmp_path: Path) -> None:
    class Full(Disk):
        def write(self, path: Path, data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError) as error:
        OnDisk(tmp_path / "best", disk=Full()).keep({"a": torch.ones(3)})
    assert "the last checkpoint is intact" in str(error.value)


def test_every_process_decides_by_the_figures_of_the_first() -> None:
    """Planted: last digits that differ."""

    class Second(Alone):
        rank, count = 1, 2

        def told(self, find: Any) -> Any:
            return {"loss": 1.0}

    measure = agreed(lambda num, on_done: {"loss": 1.0000001}, Second())
    assert measure(4, lambda _: None) == {"loss": 1.0}
    assert agreed(lambda num, on_done: {"loss": 1.0000001}, ALONE)(4, lambda _: None) == {"loss": 1.0000001}


# --- the quick evaluation ---------------------------------------------------------------------------------------------


def test_each_validation_says_bits_per_byte_and_how_the_sample_answers_ended(tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path, train=STEPS)
    looks = [row for row in log(tmp_path) if "val_loss" in row]
    ratios = {round(row["val_bits_per_byte"] / row["val_loss"], 9) for row in looks}
    assert len(looks) == 3 and len(ratios) == 1
    assert all(row[name] in {0, 1 / 3, 2 / 3, 1} for row in looks for name in ("answers_ended", "answers_looped"))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"{looks[-1]['val_bits_per_byte']:.3f}" in page and "of the sample answers ended" in page
    best = min(looks, key=lambda row: float(row["val_loss"]))
    assert f"bits per byte {best['val_bits_per_byte']:.4f}" in page


def test_bits_per_byte_are_the_nats_of_all_target_tokens_over_the_bytes_of_their_text(tiny_chat: Chat) -> None:
    rows = examples(3)
    units = sft_module.Method(sft_module.Settings()).prepare(rows, tiny_chat, max_tokens=512)
    tokens, num_bytes = sum(unit.rows[0].num_learned for unit in units), sum(len(row.answer.encode()) for row in rows)
    found = bits_of_a_nat(units, tiny_chat, loss_unit="nats per token")
    assert found is not None and found == pytest.approx(tokens / num_bytes / math.log(2))


def test_where_tokens_do_not_count_alike_there_are_no_bits_per_byte(tiny_chat: Chat) -> None:
    units = sft_module.Method(sft_module.Settings()).prepare(examples(3), tiny_chat, max_tokens=512)
    assert bits_of_a_nat(units, tiny_chat, loss_unit="nats per pair") is None
    assert bits_of_a_nat([replace(units[0], weight=0.5)], tiny_chat, loss_unit="nats per token") is None


def test_answers_that_loop_and_never_end_are_counted() -> None:
    said = [Said("the kettle is warm again. " * 20, ended=False), Said("Two minutes.", ended=True)]
    with stop_requests(lambda code: code) as stop:
        found, noted = Validator(Validation(1, lambda n, _: {"loss": 2.0}, lambda _: said), stop).whole(3, lambda _: None)
    assert found == {"loss": 2.0}
    assert noted == {"answers_ended": 0.5, "answers_looped": 0.5, "samples": [one.text for one in said]}
