"""The plan: every number follows from recipe, data and shape, each with its reason, and no torch is needed for it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared_paths import material
from tunesmith.core.errors import TrainingError
from tunesmith.core.recipe_file import recipe_from
from tunesmith.models import batching, generate
from tunesmith.plan.hardware import Hardware, is_busy, measure_hardware
from tunesmith.plan.memory import ENOUGH, ENOUGH_CACHE, SCORED, answering
from tunesmith.plan.plan import AdapterFacts, BaseFacts, DataFacts, Plan, PrecisionFacts, make_plan
from tunesmith.plan.shape import Shape, shape_of
from tunesmith.plan.steps import num_steps, validation_every
from tunesmith.train import memory as train_memory

DATA = DataFacts(
    num_train=100,
    num_val=12,
    num_test=25,
    test_documents=9,
    train_tokens=20_000,
    learned_tokens=12_000,
    longest=300,
    limit=1024,
    cut_share=0.0,
    room=120,
)
SHAPE = Shape(
    num_parameters=1_000_000, linear_params=600_000, layers=4, width=64, inner=128, heads=4, key_width=32, vocabulary=1000
)
PRECISION = PrecisionFacts("float32", "measured", 100_000.0, 100_000.0)


ADAPTER = AdapterFacts(8, 28, 50_000, {}, {})


def plan(overrides: dict[str, Any] | None = None, *, data: DataFacts = DATA, free: float = 8 * 2**30, **changes: Any) -> Plan:
    recipe = recipe_from({"sources": ["x"], **(overrides or {})})
    named: dict[str, Any] = {"base": BaseFacts("tiny"), "adapter": ADAPTER, "detectable": 0.9} | changes
    return make_plan(recipe, data, SHAPE, Hardware(2, int(free)), PRECISION, **named)


def line(made: Plan, name: str) -> Any:
    return next(x for x in made.lines if x.name == name)


def test_steps_and_tokens_follow_from_the_recipe_and_the_data() -> None:
    made = plan({"train": {"epochs": 3, "batch_examples": 8, "accumulate": 2}})
    assert made.numbers["steps"] == round(3 * 13 / 2)
    assert made.numbers["tokens"] == 20_000 // 100 * 8 * 2 * made.numbers["steps"]
    assert plan({"train": {"max_steps": 7}}).numbers["steps"] == 7


def test_every_line_has_a_value_and_a_reason() -> None:
    made = plan()
    names = [x.name for x in made.lines]
    assert len(names) == len(set(names)) >= 11
    assert all(x.value and x.reason for x in made.lines)
    assert json.dumps(dict(made.numbers))


@pytest.mark.parametrize(
    ("recipe", "name", "why"),
    [
        ({}, "adapter", "default"),
        ({"quality": "best"}, "adapter", "preset best"),
        ({"method": {"rank": 5}}, "adapter", "set in the recipe"),
        ({"quality": "best", "method": {"rank": 5}}, "adapter", "set in the recipe"),
        ({}, "rate", "default"),
        ({"quality": "best"}, "rate", "preset best"),
        ({"train": {"learning_rate": 1e-5}}, "rate", "set in the recipe"),
    ],
)
def test_the_reason_says_whether_a_number_is_set_or_a_preset_or_the_default(
    recipe: dict[str, Any], name: str, why: str
) -> None:
    assert why in line(plan(recipe), name).reason


def test_a_run_that_does_not_fit_is_refused_with_a_way_out() -> None:
    with pytest.raises(TrainingError, match="does not fit into memory") as caught:
        plan(free=100 * 2**20)
    problem = caught.value.problems[0]
    assert (
        "GiB" in str(problem.value)
        and "0.1 GiB" in problem.expected
        and "--set train.gradient_checkpointing=true" in problem.hint
    )


def test_the_way_out_needs_less_memory() -> None:
    needed = plan().numbers["least_memory_bytes"]
    assert plan({"train": {"gradient_checkpointing": True}}).numbers["least_memory_bytes"] < needed
    assert plan(data=replace(DATA, longest=900)).numbers["least_memory_bytes"] > needed
    shorter = plan(data=replace(DATA, longest=900, limit=100)).numbers
    assert shorter["least_memory_bytes"] < needed


def test_a_batch_that_does_not_fit_whole_is_no_reason_to_refuse_for_it_goes_through_in_parts() -> None:
    large, little = {"train": {"batch_examples": 512}}, 700 * 2**20
    whole, parts = plan(large, free=64 * 2**30).numbers, plan(large, free=610 * 2**20).numbers
    assert whole["tokens_at_once"] == ENOUGH and 300 <= parts["tokens_at_once"] < ENOUGH
    assert parts["stage_bytes"]["training"] < whole["stage_bytes"]["training"] < little
    told = plan({"train": {"batch_examples": 512, "tokens_at_once": 2048}}).numbers
    assert told["tokens_at_once"] == 2048 and told["stage_bytes"]["training"] > whole["stage_bytes"]["training"]


def test_tokens_at_once_that_are_set_are_counted_as_set_though_they_do_not_fit() -> None:
    made = plan({"train": {"batch_examples": 512, "tokens_at_once": 100_000}}, free=700 * 2**20)
    assert made.numbers["tokens_at_once"] == 100_000 and made.numbers["memory_bytes"] > 700 * 2**20
    assert "more than the 0.7 GiB free" in line(made, "memory").reason


def test_one_example_that_just_fits_is_not_refused() -> None:
    """Beyond 256 keys a token keeps less than one of a shorter row, which is not there."""
    long = replace(DATA, longest=900)
    made = plan(data=long, free=plan(data=long).numbers["least_memory_bytes"])
    assert made.numbers["tokens_at_once"] == 900


def training(**changes: Any) -> int:
    return int(plan(**changes).numbers["stage_bytes"]["training"])


def test_what_is_not_adapted_keeps_nothing() -> None:
    def kept(**method: Any) -> int:
        return training(overrides={"method": method}, data=replace(DATA, longest=1000))

    assert kept(layers=1) < kept(layers=3) < kept() and kept(targets="attention") < kept()


def test_the_plans_memory_is_the_peak_of_all_stages_and_names_the_largest() -> None:
    made = plan()
    held = made.numbers["stage_bytes"]
    assert made.numbers["memory_bytes"] == max(held.values()) == held[made.numbers["largest_stage"]]
    assert set(held) == {"training", "merging", "evaluation"}
    assert all(f"{name} " in line(made, "memory").reason for name in held)


def test_an_evaluation_that_takes_more_than_training_is_the_peak() -> None:
    """Planted: hundreds of long answers at once; a plan of training alone would not see them."""
    few, many = (plan({"eval": {"batch_examples": n}}, data=replace(DATA, num_test=400, room=700)) for n in (1, 256))
    assert many.numbers["largest_stage"] == "evaluation"
    assert many.numbers["memory_bytes"] > few.numbers["memory_bytes"] and training(data=DATA) < many.numbers["memory_bytes"]
    over = plan(data=replace(DATA, num_test=400, room=700), free=650 * 2**20)
    assert "more than" in line(over, "memory").reason and "eval.batch_examples=16" in line(over, "memory").reason


def test_many_answers_take_no_more_than_the_cache_that_generation_allows_itself() -> None:
    assert answering(SHAPE, answers=10**6, prompt=900, room=900, free=2**40) == ENOUGH_CACHE
    assert answering(SHAPE, answers=10**6, prompt=900, room=900, free=4 * 2**20) == 2**20


def test_the_numbers_of_the_engine_are_those_that_it_uses() -> None:
    assert (ENOUGH, SCORED, ENOUGH_CACHE) == (train_memory.ENOUGH, batching.TOKENS, generate.ENOUGH_CACHE)


def test_validation_and_evaluation_have_times_of_their_own() -> None:
    usual, n = plan(), plan().numbers
    assert n["total_seconds"] == pytest.approx(n["seconds"] + n["validation_seconds"] + n["evaluation_seconds"], abs=0.2)
    assert all(f"{name} " in line(usual, "time").value for name in ("training", "validation", "evaluation"))
    rarely = plan({"train": {"evaluate_every": 50}}).numbers
    assert rarely["validation_seconds"] < n["validation_seconds"] and rarely["seconds"] == n["seconds"]
    more = plan(data=replace(DATA, num_test=100)).numbers
    assert more["evaluation_seconds"] > 2 * n["evaluation_seconds"] and more["seconds"] == n["seconds"]
    without = plan({"eval": {"baselines": []}}).numbers
    assert without["evaluation_seconds"] < n["evaluation_seconds"]


@pytest.mark.parametrize("busy", [False, True])
def test_a_busy_machine_is_told_with_the_time(busy: bool) -> None:
    recipe = recipe_from({"sources": ["x"]})
    made = make_plan(
        recipe, DATA, SHAPE, Hardware(2, 8 * 2**30, busy), PRECISION, base=BaseFacts("tiny"), adapter=ADAPTER, detectable=0.9
    )
    assert ("the machine is busy" in line(made, "time").reason) == busy == made.numbers["busy"]


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


def test_longer_work_takes_longer() -> None:
    assert plan({"train": {"epochs": 12}}).numbers["seconds"] > 1.8 * plan({"train": {"epochs": 6}}).numbers["seconds"]


@pytest.mark.parametrize("detectable", [None, math.inf])
def test_an_effect_that_cannot_be_told_is_said_and_not_made_up(detectable: float | None) -> None:
    assert line(plan(detectable=detectable), "power").value == "unknown: too few test documents"


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


def test_looks_are_spread_over_the_run_unless_the_recipe_says_when() -> None:
    train = recipe_from({"sources": ["x"]}).train
    assert validation_every(train, 1200) == 100 and validation_every(train, 20) == 10
    assert validation_every(recipe_from({"sources": ["x"], "train": {"evaluate_every": 3}}).train, 1200) == 3
    assert num_steps(train, 1, 90) >= 1


def test_the_plan_says_whether_layers_will_be_compiled_by_the_time_that_the_steps_take() -> None:
    long = {"max_steps": 200_000}
    assert not any(x.name == "compiling" for x in plan({"train": long}).lines)
    assert "measured to be faster" in line(plan({"train": long | {"compile": "auto"}}), "compiling").value
    short = line(plan({"train": {"max_steps": 50, "compile": "auto"}}), "compiling")
    assert short.value == "layers probably not compiled" and "50 steps" in short.reason
    assert "a minute before" in line(plan({"train": {"compile": True}}), "compiling").value


def test_the_plan_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, tunesmith.plan.plan, tunesmith.plan.hardware, tunesmith.plan.shape, tunesmith.plan.steps;"
    code += "print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_plan_names_the_base_and_where_its_weights_come_from() -> None:
    said = line(plan(base=BaseFacts("smollm2", "a.Q4_1.gguf, Q4_1 dequantised to float32")), "base")
    assert said.value.startswith("smollm2, ") and "Q4_1 dequantised" in said.reason


def test_the_plan_names_the_weights_that_no_adapter_reaches_with_their_share() -> None:
    size = SHAPE.num_parameters
    beyond = {"experts": round(0.71 * size), "embeddings and head": round(0.1 * size), "norms and biases": 1}
    made = plan(adapter=AdapterFacts(8, 8, 50_000, beyond, {}))
    assert line(made, "reach").value.startswith("8 of 8 linear layers")
    assert line(made, "reach").reason.endswith("not adaptable, of all weights: 71% experts, 10% embeddings and head")
    assert made.numbers["out_of_reach"] == beyond
    assert "not adaptable" not in line(plan(), "reach").reason


def test_the_plan_says_that_the_bases_own_dropouts_are_off_where_it_has_any() -> None:
    made = plan(adapter=AdapterFacts(8, 8, 50_000, {}, {"attn_pdrop": 0.1, "resid_pdrop": 0.2}))
    assert (
        "off in training" in line(made, "dropout").value and "attn_pdrop 0.1, resid_pdrop 0.2" in line(made, "dropout").reason
    )
    assert not [x for x in plan().lines if x.name == "dropout"]


def test_the_matrices_of_a_tower_that_sees_are_not_counted_with_the_language_model() -> None:
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 10}
    tensors = {
        "language_model.model.layers.0.mlp.up_proj.weight": (16, 8),
        "vision_tower.encoder.layers.0.mlp.fc1.weight": (32, 8),
        "model.visual.blocks.0.mlp.fc1.weight": (32, 8),
    }
    shape = shape_of({"text_config": text}, tensors)
    assert (shape.linear_params, shape.num_parameters) == (16 * 8, 16 * 8 + 2 * 32 * 8)
