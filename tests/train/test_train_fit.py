"""The loop: stops when it should, keeps the best step, weighs by tokens, and calls a broken run broken."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from safetensors.torch import load_file

from fakes import example, examples, train_tiny
from tunesmith.core.errors import BlockedError, Interrupted, TrainingError
from tunesmith.models.chat import Chat
from tunesmith.models.labels import audit_labels
from tunesmith.train import execution as execution_module
from tunesmith.train import loop as loop_module
from tunesmith.train.checkpoint import lock
from tunesmith.train.method import DEFAULT, open_method
from tunesmith.train.methods import sft as sft_module
from tunesmith.train.units import Batch

GOLDEN = Path(__file__).with_name("golden_20_steps.json")


def metrics(place: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (place / "work" / "metrics.jsonl").read_bytes().splitlines()]


def series(place: Path, name: str) -> list[float]:
    return [row[name] for row in metrics(place) if name in row]


def adapter(place: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(place / "out" / "adapter" / "adapter_model.safetensors")
    return tensors


# --- the numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.05, 0])
def test_twenty_steps_give_the_losses_that_they_always_gave(dropout: float, tiny_path: Path, tmp_path: Path) -> None:
    settings = {"max_steps": 20, "evaluate_every": 5, "warmup": 0.2, "weight_decay": 0.01}
    train_tiny(tiny_path, tmp_path, train=settings, method={"dropout": dropout})
    golden = json.loads(GOLDEN.read_text())[f"dropout {dropout:g}"]
    for name in ("loss", "grad_norm", "val_loss", "learning_rate"):
        assert series(tmp_path, name) == pytest.approx(golden[name], rel=1e-4), name


def test_training_lowers_the_loss_on_held_out_rows(tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path)
    losses = series(tmp_path, "val_loss")
    assert losses[-1] < losses[0] - 0.1


def one_step(tiny_path: Path, place: Path, *, batch: int, accumulate: int) -> list[float]:
    """Loss and gradient norm of the first step over the same eight examples."""
    settings = {"max_steps": 1, "batch_examples": batch, "accumulate": accumulate, "evaluate_every": 0}
    train_tiny(tiny_path, place, train=settings, method={"dropout": 0.0}, rows=examples(12))
    return [*series(place, "loss"), *series(place, "grad_norm")]


def test_eight_batches_of_one_are_one_batch_of_eight(tiny_path: Path, tmp_path: Path) -> None:
    whole = one_step(tiny_path, tmp_path / "1x8", batch=8, accumulate=1)
    parts = one_step(tiny_path, tmp_path / "8x1", batch=1, accumulate=8)
    assert parts == pytest.approx(whole, rel=1e-6)


def test_a_mean_of_means_would_be_noticed(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = one_step(tiny_path, tmp_path / "1x8", batch=8, accumulate=1)
    learned = series(tmp_path / "1x8", "learned")[0]
    sft_loss = sft_module.Method.loss
    monkeypatch.setattr(sft_module.Method, "loss", lambda m, f, b: sft_loss(m, f, b) / b.num_learned * learned / 8)
    parts = one_step(tiny_path, tmp_path / "8x1", batch=1, accumulate=8)
    assert parts[0] != pytest.approx(whole[0], rel=1e-4)


def test_gradient_checkpointing_gives_the_same_losses_and_adapter(tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path / "a")
    train_tiny(tiny_path, tmp_path / "b", train={"gradient_checkpointing": True})
    assert series(tmp_path / "b", "loss") == pytest.approx(series(tmp_path / "a", "loss"), rel=1e-5)


KNOBS: dict[str, Any] = {
    "learning_rate": 0.002,
    "schedule": "constant",
    "warmup": 0.5,
    "weight_decay": 0.5,
    "max_grad_norm": 0.01,
    "batch_examples": 3,
    "batch_tokens": 100,
    "curriculum": "short_first",
    "accumulate": 2,
    "seed": 8,
    "max_tokens": 40,
}


@pytest.fixture(scope="module")
def usual(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    place = tmp_path_factory.mktemp("usual")
    train_tiny(tiny_path, place, train={"max_steps": 3})
    return adapter(place)


@pytest.mark.parametrize("knob", sorted(KNOBS))
def test_every_knob_of_training_changes_the_adapter(
    knob: str, tiny_path: Path, tmp_path: Path, usual: dict[str, torch.Tensor]
) -> None:
    train_tiny(tiny_path, tmp_path, train={"max_steps": 3, knob: KNOBS[knob]})
    changed = adapter(tmp_path)
    assert any(not torch.equal(usual[name], changed[name]) for name in usual)


def test_the_first_validation_is_of_the_untrained_model_and_the_last_of_the_last_step(tiny_path: Path, tmp_path: Path) -> None:
    train_tiny(tiny_path, tmp_path, train={"max_steps": 5, "evaluate_every": 3})
    assert [row["step"] for row in metrics(tmp_path) if "val_loss" in row] == [0, 3, 5]
    assert all(len(row["samples"]) == 3 for row in metrics(tmp_path) if "val_loss" in row)


# --- stopping and keeping the best ------------------------------------------------------------------------------------


def scripted(
    monkeypatch: pytest.MonkeyPatch, losses: list[float], accuracies: Sequence[float] = (0.5,) * 8
) -> list[dict[str, torch.Tensor]]:
    """Validation that gives these losses and accuracies in turn; returns the trained tensors as they were at each of them."""
    seen: list[dict[str, torch.Tensor]] = []

    def validate(method: object, forward: Any, *_: object) -> dict[str, float]:
        seen.append({n: p.detach().clone() for n, p in forward.model.named_parameters() if p.requires_grad})
        return {"loss": losses[len(seen) - 1], "accuracy": accuracies[len(seen) - 1]}

    monkeypatch.setattr(sft_module.Method, "validate", validate)
    return seen


def same(place: Path, seen: dict[str, torch.Tensor]) -> bool:
    return same_tensors(adapter(place), seen)


def same_tensors(saved: dict[str, torch.Tensor], seen: dict[str, torch.Tensor]) -> bool:
    return len(saved) == len(seen) and all(torch.equal(saved[n.replace(".default", "")], t) for n, t in seen.items())


def test_early_stopping_stops_and_the_best_steps_weights_are_what_is_saved(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = scripted(monkeypatch, [5.0, 4.0, 3.0, 3.1, 2.9995, 9.0, 9.0, 9.0])
    done = train_tiny(tiny_path, tmp_path, train={"max_steps": 50, "evaluate_every": 2, "patience": 3, "min_delta": 0.001})
    # 2.9995 is lower than 3.0, but by less than min_delta
    assert done.fitted.stopped_early and done.fitted.num_steps == 10 and len(seen) == 6
    assert (done.fitted.best_step, done.fitted.best_loss) == (4, 3.0)
    assert same(tmp_path, seen[2]) and not same(tmp_path, seen[-1])


def test_the_best_step_and_early_stopping_can_go_by_accuracy(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = scripted(monkeypatch, [5.0, 4.0, 3.0, 2.0, 1.0, 0.5], [0.1, 0.3, 0.6, 0.6005, 0.5, 0.2])
    settings = {"max_steps": 50, "evaluate_every": 2, "patience": 3, "min_delta": 0.001, "best_by": "accuracy"}
    done = train_tiny(tiny_path, tmp_path, train=settings)
    assert done.fitted.stopped_early and done.fitted.num_steps == 10
    assert (done.fitted.best_step, done.fitted.best_loss) == (4, 3.0)
    assert same(tmp_path, seen[2]) and not same(tmp_path, seen[-1])


@pytest.mark.parametrize("best_by", ["loss", "accuracy"])
def test_the_best_step_by_the_other_measure_is_kept_beside_and_survives_a_stop(
    best_by: str, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"max_steps": 8, "evaluate_every": 2, "patience": 0, "best_by": best_by}
    seen = scripted(monkeypatch, [5.0, 4.0, 3.0, 4.5, 4.5], [0.1, 0.6, 0.3, 0.2, 0.2])
    step, asked = loop_module._step, list[int]()

    def step_and_stop(*given: Any, **how: Any) -> Any:
        if len(seen) == 3 and not asked:
            asked.append(1)
            os.kill(os.getpid(), signal.SIGINT)
        return step(*given, **how)

    monkeypatch.setattr(loop_module, "_step", step_and_stop)
    with pytest.raises(Interrupted):
        train_tiny(tiny_path, tmp_path, train=settings)
    done = train_tiny(tiny_path, tmp_path, train=settings)
    by_loss, by_accuracy = seen[2], seen[1]
    kept, beside = (by_loss, by_accuracy) if best_by == "loss" else (by_accuracy, by_loss)
    other = "accuracy" if best_by == "loss" else "loss"
    assert same(tmp_path, kept)
    assert same_tensors(load_file(tmp_path / "out" / f"adapter-best-{other}" / "adapter_model.safetensors"), beside)
    assert done.fitted.other_step == (2 if best_by == "loss" else 4)
    assert f"saved as adapter-best-{other}" in (tmp_path / "out" / "report.html").read_text()


def test_where_both_measures_agree_one_adapter_is_kept(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [5.0, 3.0, 4.0], [0.1, 0.6, 0.3])
    train_tiny(tiny_path, tmp_path, train={"max_steps": 4, "evaluate_every": 2, "patience": 0})
    assert [path.name for path in (tmp_path / "out").glob("adapter*")] == ["adapter"]


def test_a_validation_finds_the_loss_and_the_share_of_tokens_that_are_the_likeliest(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"max_steps": 40, "evaluate_every": 40, "learning_rate": 1e-2}
    train_tiny(tiny_path, tmp_path / "trees", train=settings, method={"dropout": 0.0})
    monkeypatch.setattr(execution_module, "why_not_packed", lambda *_, **__: "for the comparison")
    train_tiny(tiny_path, tmp_path / "padded", train=settings, method={"dropout": 0.0})
    for name, rel in (("val_loss", 1e-4), ("val_accuracy", 0.02)):
        trees, padded = series(tmp_path / "trees", name), series(tmp_path / "padded", name)
        assert trees == pytest.approx(padded, rel=rel)
    first, last = series(tmp_path / "trees", "val_accuracy")
    assert 0 <= first < last <= 1


def test_without_patience_all_steps_are_done_and_the_best_is_still_kept(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = scripted(monkeypatch, [5.0, 3.0, 9.0, 9.0])
    done = train_tiny(tiny_path, tmp_path, train={"max_steps": 6, "evaluate_every": 2, "patience": 0})
    assert not done.fitted.stopped_early and done.fitted.num_steps == 6 and same(tmp_path, seen[1])


# --- broken runs ------------------------------------------------------------------------------------------------------


def poisoned(at_call: int) -> Callable[..., torch.Tensor]:
    calls = 0

    def loss(method: object, forward: Any, batch: Batch) -> torch.Tensor:
        nonlocal calls
        calls += 1
        nll: torch.Tensor = forward.nll(batch)
        return nll * (math.nan if calls >= at_call else 1.0)

    return loss


def test_a_loss_that_is_no_number_stops_and_the_last_good_checkpoint_stays(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft_module.Method, "loss", poisoned(6))
    with pytest.raises(TrainingError, match="broke at step 6") as caught:
        train_tiny(tiny_path, tmp_path, train={"max_steps": 9, "tokens_at_once": 10_000})
    assert "hint: " in str(caught.value)
    kept = sorted((tmp_path / "work" / "checkpoints").glob("step-*"))
    assert [p.name for p in kept] == ["step-00000002", "step-00000004"]
    for file in kept:
        assert all(t.isfinite().all() for t in load_file(file / "trained.safetensors").values())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("found", [[math.nan], [5.0, math.nan]])
def test_a_validation_loss_that_is_no_number_is_no_success(
    found: list[float], tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, found)
    with pytest.raises(TrainingError, match="not a number"):
        train_tiny(tiny_path, tmp_path, train={"evaluate_every": 0 if len(found) == 1 else 3})
    assert not (tmp_path / "out").exists()


def test_a_learning_rate_of_a_million_is_not_recorded_as_success(tiny_path: Path, tmp_path: Path) -> None:
    try:
        done = train_tiny(tiny_path, tmp_path, train={"learning_rate": 1e6, "max_steps": 12, "max_grad_norm": 0.0})
    except TrainingError:
        return
    assert done.reading.shape in {"unstable", "collapsed", "nothing learned"}


def test_an_adapter_that_does_not_move_is_an_error_after_the_first_step(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft_module.Method, "loss", lambda m, forward, batch: forward.nll(batch) * 0.0)
    with pytest.raises(TrainingError, match="the first step did not change"):
        train_tiny(tiny_path, tmp_path)


def test_two_processes_cannot_train_the_same_run(tiny_path: Path, tmp_path: Path) -> None:
    with lock(tmp_path / "work"), pytest.raises(TrainingError, match="another process"):
        train_tiny(tiny_path, tmp_path)
    train_tiny(tiny_path, tmp_path)


# --- the label audit --------------------------------------------------------------------------------------------------


def blocked(chat: Chat, rows: list[Any], limit: int, allow: tuple[str, ...] = ()) -> BlockedError | None:
    coded = [chat.rows(e.messages, max_tokens=limit) for e in rows]
    try:
        audit_labels(chat, rows, coded, allow=allow)
    except BlockedError as error:
        assert error.exit_code == 2 and error.problems[0].hint
        return error
    return None


def test_sound_examples_pass_the_audit(tiny_chat: Chat) -> None:
    assert blocked(tiny_chat, examples(8), 500) is None


def test_cut_answers_block_until_they_are_allowed_by_name(tiny_chat: Chat) -> None:
    rows = [*examples(4), example("Say much.", "word " * 400, id="long")]
    error = blocked(tiny_chat, rows, 200)
    assert error is not None and error.name == "cut" and "1 of 5" in str(error)
    assert blocked(tiny_chat, rows, 200, allow=("cut",)) is None


def test_an_example_with_nothing_to_learn_blocks(tiny_chat: Chat) -> None:
    rows = [*examples(4), example("A question that fills everything. " * 30, "Yes.", id="none")]
    error = blocked(tiny_chat, rows, 100)
    assert error is not None and error.name == "zero_labels" and "none" in str(error)


def test_without_a_validation_split_training_says_so_before_it_begins(tiny_path: Path, tmp_path: Path) -> None:
    from tunesmith.core.reporter import SilentReporter
    from tunesmith.models.chat import open_chat
    from tunesmith.models.load import find_base
    from tunesmith.pipeline.sections.run import MethodConfig, TrainConfig
    from tunesmith.train.order import Place
    from tunesmith.train.run import train_adapter

    base = find_base(str(tiny_path))
    with pytest.raises(TrainingError, match="no validation examples"):
        train_adapter(
            base,
            open_chat(base),
            {"train": examples(4), "val": []},
            objective=open_method(DEFAULT),
            method=MethodConfig(),
            train=TrainConfig(),
            precision="float32",
            place=Place("r", tmp_path / "work", tmp_path / "out"),
            reporter=SilentReporter(),
        )
