"""The arithmetic of the plan: sizes, memory, steps, and what the machine has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared_paths import material
from tunesmith.eval.suites import run
from tunesmith.models import batching, generate
from tunesmith.models.generation import engine
from tunesmith.plan.hardware import is_busy, measure_hardware
from tunesmith.plan.memory import ENOUGH, ENOUGH_CACHE, PROMPT_TOKENS, SCORED, SUITE_BATCH, answering
from tunesmith.plan.shape import Shape, shape_of
from tunesmith.plan.steps import num_steps, validation_every
from tunesmith.train import memory as train_memory

SHAPE = Shape(
    num_parameters=1_000_000, linear_params=600_000, layers=4, width=64, inner=128, heads=4, key_width=32, vocabulary=1000
)


def test_many_answers_take_no_more_than_the_cache_that_generation_allows_itself() -> None:
    assert answering(SHAPE, answers=10**6, prompt=900, room=900, free=2**40) == ENOUGH_CACHE
    assert answering(SHAPE, answers=10**6, prompt=900, room=900, free=4 * 2**20) == 2**20


def test_the_numbers_of_the_engine_are_those_that_it_uses() -> None:
    assert (ENOUGH, SCORED, ENOUGH_CACHE) == (train_memory.ENOUGH, batching.TOKENS, generate.ENOUGH_CACHE)
    assert (PROMPT_TOKENS, SUITE_BATCH) == (engine._PROMPT_TOKENS, run._BATCH)


@pytest.mark.parametrize(("waiting", "busy"), [("0.00", False), ("12.50", False), ("64.20", True)])
def test_work_that_waits_for_a_processor_makes_a_machine_busy(waiting: str, busy: bool, tmp_path: Path) -> None:
    file = tmp_path / "cpu"
    file.write_text(f"some avg10={waiting} avg60=1.00 avg300=1.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
    assert is_busy(2, file) == busy


@pytest.mark.parametrize(("load", "busy"), [(0.4, False), (2.9, False), (7.5, True)])
def test_where_waiting_is_not_told_the_load_decides(
    load: float, busy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.getloadavg", lambda: (load, 9.0, 9.0))
    assert is_busy(2, tmp_path / "nothing") == busy


def test_the_shape_of_a_published_model_is_counted_right() -> None:
    config = json.loads((material("models/configs") / "phi-3-mini-4k-instruct-config.json").read_text())
    shape = shape_of(config, {"model.layers.0.mlp.down_proj.weight": (3072, 8192), "model.norm.weight": (3072,)})
    assert (shape.layers, shape.width, shape.inner, shape.heads, shape.vocabulary) == (32, 3072, 8192, 32, 32064)
    assert (shape.num_parameters, shape.linear_params) == (3072 * 8193, 3072 * 8192)


def test_a_multimodal_config_is_read_in_its_text_part() -> None:
    assert shape_of({"text_config": {"hidden_size": 9, "num_hidden_layers": 2}}, {}).width == 9


def test_the_machine_is_read() -> None:
    machine = measure_hardware()
    assert machine.cores >= 1 and machine.free_bytes > 0


@dataclass
class Asked:
    max_steps: int = 0
    epochs: float = 6.0
    batch_examples: int = 8
    batch_tokens: int = 0
    accumulate: int = 1


def test_validations_are_spread_over_the_run_unless_it_is_set_when() -> None:
    assert validation_every("auto", 1200) == 100 and validation_every("auto", 20) == 10
    assert validation_every(3, 1200) == 3 and validation_every(0, 1200) == 0


def test_steps_follow_from_epochs_and_batches_or_are_set() -> None:
    assert num_steps(Asked(), 1, 90) == 6 and num_steps(Asked(epochs=0.1), 1, 90) == 1
    assert num_steps(Asked(epochs=3, accumulate=2), 100, 9000) == round(3 * 13 / 2)
    assert num_steps(Asked(epochs=3, batch_tokens=1000), 100, 9000) == 27
    assert num_steps(Asked(max_steps=7), 100, 9000) == 7


def test_the_matrices_of_a_tower_that_sees_are_not_counted_with_the_language_model() -> None:
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 10}
    tensors = {
        "language_model.model.layers.0.mlp.up_proj.weight": (16, 8),
        "vision_tower.encoder.layers.0.mlp.fc1.weight": (32, 8),
        "model.visual.blocks.0.mlp.fc1.weight": (32, 8),
    }
    shape = shape_of({"text_config": text}, tensors)
    assert (shape.linear_params, shape.num_parameters) == (16 * 8, 16 * 8 + 2 * 32 * 8)
