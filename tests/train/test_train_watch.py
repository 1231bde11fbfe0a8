"""The watch: each fault is planted and told once, a good run is left in peace, and a resumed run has the same rows."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from fakes import Told, train_tiny
from tunesmith.core.errors import TrainingError
from tunesmith.train import loop as loop_module
from tunesmith.train.watch import Conditions, Event, Machine, Watch, machine_now

GIB = 2**30


class Rows(list[dict[str, Any]]):
    """A log in memory."""

    def write(self, row: Any) -> None:
        self.append(dict(row))

    def events(self) -> list[tuple[int, str]]:
        return [(row["step"], row["event"]) for row in self if "event" in row]


def steps(losses: list[float], norms: list[float] | None = None) -> tuple[Rows, Told]:
    """What a run with these losses and gradient norms writes and says."""
    rows, told = Rows(), Told()
    watch = Watch(rows, told)
    for n, loss in enumerate(losses, 1):
        watch.step({"step": n, "loss": loss, "grad_norm": norms[n - 1] if norms else 1.0}, num_tokens=100)
    return rows, told


def good_losses(seed: int, count: int = 300) -> list[float]:
    """A loss that falls from 3 to 1.5 with the scatter of small batches."""
    draw = random.Random(seed)
    return [(1.5 + 1.5 * math.exp(-n / 60)) * draw.lognormvariate(0, 0.08) for n in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_a_good_run_is_left_in_peace(seed: int) -> None:
    draw = random.Random(seed)
    rows, told = steps(good_losses(seed), [draw.lognormvariate(0, 0.4) for _ in range(300)])
    assert not rows.events() and not told.warnings


def test_a_spike_of_the_loss_is_told_with_its_size_and_advice() -> None:
    losses = good_losses(1)
    losses[150] = 6.0
    rows, told = steps(losses)
    assert rows.events() == [(151, "loss_spike")]
    (said,) = told.warnings
    assert "step 151: the loss jumped to 6, it was about 1.6" in said and "halve train.learning_rate" in said


def test_a_loss_that_climbs_slowly_is_told_once_though_no_step_jumps() -> None:
    rows, told = steps([2.0 - 0.01 * n for n in range(50)] + [1.5 * 1.01**n for n in range(150)])
    assert [name for _, name in rows.events()] == ["loss_rising"] and "comes apart" in told.warnings[0]


def test_a_gradient_ten_times_the_usual_and_a_gradient_of_zero_are_told() -> None:
    norms = [1.0] * 20 + [30.0] + [1.0] * 5 + [0.0]
    rows, told = steps([2.0] * 27, norms)
    assert rows.events() == [(21, "gradient_jump"), (27, "gradient_zero")]
    assert "30 times its usual size" in told.warnings[0] and "the model learned nothing" in told.warnings[1]


def test_many_events_of_a_kind_are_all_in_the_log_and_seldom_on_the_screen() -> None:
    rows, told = steps([1.0] * 30 + [5.0 if n % 2 else 1.0 for n in range(20)])
    assert len(rows.events()) == 10 and len(told.warnings) == 4  # the 1st, 2nd, 4th and 8th


def looks(*answers: list[str]) -> tuple[Rows, Told]:
    rows, told = Rows(), Told()
    watch = Watch(rows, told)
    for n, samples in enumerate(answers):
        watch.validation({"step": 10 * n, "val_loss": 2.0, "samples": samples})
    return rows, told


FRESH = ["The kettle stands on the hob and waits for water.", "A ladder has two sides and some rungs.", "Rust is slow fire."]


LOOPING = ["it was a slow day " * 8] * 2 + FRESH[:1]


def test_answers_that_begin_to_loop_and_go_on_looping_are_reported_once() -> None:
    rows, told = looks(FRESH, FRESH, LOOPING, LOOPING, LOOPING, FRESH, LOOPING, LOOPING)
    assert [step for step, _ in rows.events()] == [30, 40, 70] and len(told.warnings) == 1
    assert "its answers loop: 67% of the samples at two validations in a row" in told.warnings[0]


def test_one_validation_with_loops_or_one_looping_sample_is_no_reason_to_warn() -> None:
    assert looks(FRESH, LOOPING, FRESH, LOOPING, FRESH)[0].events() == []
    assert looks(FRESH, *[[*FRESH[:2], LOOPING[0]]] * 4)[0].events() == []


def test_letters_without_words_are_loops_too() -> None:
    rows, _ = looks(FRESH, *[["itititittitititittitit" * 4, "a fine day", "it" * 40]] * 2)
    assert rows.events() == [(20, "repetition")]


def test_answers_that_looped_from_the_start_are_the_bases_own_habit() -> None:
    assert looks(["la la " * 20] * 3, *[[f"{word} " * 30 for word in ("la", "lo", "li")]] * 3)[0].events() == []


def test_one_answer_to_every_question_and_no_answer_at_all_are_told() -> None:
    rows, told = looks(FRESH, ["I do not know that one."] * 3, ["", " ", ""])
    assert rows.events() == [(10, "same_answer"), (20, "empty_answers")]
    assert "same answer to 3 different questions" in told.warnings[0] and "tunesmith check" in told.warnings[1]


def test_a_watch_that_resumes_writes_what_the_undisturbed_one_writes() -> None:
    losses = good_losses(3, 120)
    for n in (20, 57, 90):
        losses[n] = 9.0
    whole, _ = steps(losses)
    for cut in (1, 5, 21, 40, 58, 100):
        rows = Rows(row for row in whole if row["step"] <= cut)
        watch, told = Watch(rows, Told()), Told()
        watch.resume(list(rows))
        for n in range(cut + 1, 121):
            watch.step({"step": n, "loss": losses[n - 1], "grad_norm": 1.0}, num_tokens=1)
        assert rows == whole and not told.warnings


# --- the machine --------------------------------------------------------------------------------------------------------


def ran(
    folder: Path, seconds: Callable[[int], float], machine: Callable[[int], Machine], count: int = 60
) -> list[tuple[int, Event]]:
    """The events of `count` steps of 100 tokens, each taking `seconds(step)`, on a machine that changes."""
    now, at = 0.0, 0
    conditions = Conditions(folder, clock=lambda: now, machine=lambda _: machine(at), every=1)
    found = []
    for at in range(1, count + 1):
        now += 50.0  # a look, a checkpoint: not part of the step
        conditions.begin()
        now += seconds(at)
        found += [(at, event) for event in conditions.step(at, 100)]
    return found


def well(_: int) -> Machine:
    return Machine(8 * GIB, 16 * GIB, GIB, 100 * GIB)


def test_a_machine_in_order_is_left_in_peace_and_its_times_stand_beside_the_log(tmp_path: Path) -> None:
    assert ran(tmp_path, lambda n: 1.0 + 0.3 * (n % 3), well) == []
    rows = [orjson.loads(line) for line in (tmp_path / "timing.jsonl").read_bytes().splitlines()]
    assert len(rows) == 60 and rows[0]["seconds"] == pytest.approx(1.3) and rows[0]["free_disk"] == 100 * GIB


def test_a_run_that_slows_to_less_than_half_is_told_once(tmp_path: Path) -> None:
    ((step, event),) = ran(tmp_path, lambda n: 1.0 if n <= 30 else 2.5, well)
    assert event.kind == "slow" and 34 <= step <= 36
    assert "slowed to 40 tokens per second, before it was 100" in event.text


def test_memory_that_runs_out_or_grows_is_told(tmp_path: Path) -> None:
    short = ran(tmp_path, lambda _: 1.0, lambda n: Machine(GIB // 5 if n == 9 else 8 * GIB, 16 * GIB, GIB, 100 * GIB))
    assert [(n, event.kind) for n, event in short] == [(9, "memory")] and "205 MiB of memory are free" in short[0][1].text
    grown = ran(tmp_path, lambda _: 1.0, lambda n: Machine(8 * GIB, 16 * GIB, GIB * (1 + n // 40), 100 * GIB))
    assert [(n, event.kind) for n, event in grown] == [(40, "memory_grows")]


def test_a_disk_too_small_for_the_next_checkpoints_is_told(tmp_path: Path) -> None:
    shards = tmp_path / "checkpoints" / "step-00000001" / "shards"  # as several processes write them
    shards.mkdir(parents=True)
    (shards / "part.safetensors").write_bytes(bytes(50 * 2**20))
    found = ran(tmp_path, lambda _: 1.0, lambda n: Machine(8 * GIB, 16 * GIB, GIB, 200 * 2**20 if n == 5 else GIB))
    assert [(n, event.kind) for n, event in found] == [(5, "disk")] and "free 250 MiB before" in found[0][1].advice


def test_the_real_machine_can_be_looked_at(tmp_path: Path) -> None:
    seen = machine_now(tmp_path)
    assert 0 < seen.free_memory <= seen.all_memory and seen.held > 0 and seen.free_disk > 0


# --- in a run -----------------------------------------------------------------------------------------------------------


def test_a_learning_rate_of_a_hundred_is_never_recorded_as_success(tiny_path: Path, tmp_path: Path) -> None:
    told = Told()
    try:
        done = train_tiny(
            tiny_path,
            tmp_path,
            train={"learning_rate": 100.0, "max_steps": 30, "max_grad_norm": 0, "warmup": 0.0},
            reporter=told,
        )
    except TrainingError as error:
        assert "is not a number" in str(error)
    else:
        assert done.reading.shape in {"unstable", "collapsed", "nothing learned"} and told.warnings


def test_a_spike_in_a_run_is_in_the_metric_log_and_on_the_page(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, calls = loop_module._step, 0

    def spiking(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        loss, *others = inner(*arguments, **named)
        return ((40.0 if calls == 9 else loss), *others)

    monkeypatch.setattr(loop_module, "_step", spiking)
    told = Told()
    train_tiny(tiny_path, tmp_path, train={"max_steps": 10}, reporter=told)
    rows = [orjson.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_bytes().splitlines()]
    assert [row["step"] for row in rows if row.get("event") == "loss_spike"] == [9]
    assert any("step 9: the loss jumped to 40" in text for text in told.warnings)
    assert "What was unusual" in (tmp_path / "out" / "report.html").read_text()
    assert len((tmp_path / "out" / "timing.jsonl").read_bytes().splitlines()) == 10
