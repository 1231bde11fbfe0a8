"""The plan: every number follows from recipe, data and shape, each with its reason, and no torch is needed for it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tunesmith.core.errors import TrainingError
from tunesmith.models.load import BaseFolder
from tunesmith.models.precision import Precision
from tunesmith.pipeline.plan import Plan, make_plan
from tunesmith.pipeline.plan_event import plan_event
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.plan.facts import AdapterFacts, BaseFacts, DataFacts, DrawingFacts, PrecisionFacts
from tunesmith.plan.hardware import Hardware
from tunesmith.plan.memory import ENOUGH, left_by_training
from tunesmith.plan.shape import Shape

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
    return make_plan(recipe, data, SHAPE, Hardware(2, int(free)), named.pop("precision", PRECISION), **named)


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


def test_a_long_training_comes_with_the_setting_for_a_short_one() -> None:
    slow = PrecisionFacts("float32", "measured", 400.0, 400.0)  # tokens a second of one layer
    made = plan({"train": {"epochs": 60}}, precision=slow)
    said, whole = line(made, "shorter").value, made.numbers["seconds"] + made.numbers["validation_seconds"]
    steps = int(said.removeprefix("--set train.max_steps="))
    assert whole > 3600 and 10 <= steps < made.numbers["steps"] / 2 and steps % 10 == 0
    assert 600 < plan({"train": {"max_steps": steps}}, precision=slow).numbers["seconds"] < 1300
    for short in (plan(), plan({"train": {"max_steps": 50}}, precision=slow)):
        assert all(one.name != "shorter" for one in short.lines)


def test_a_run_that_does_not_fit_is_refused_with_a_way_out() -> None:
    with pytest.raises(TrainingError, match="does not fit into memory") as caught:
        plan(free=100 * 2**20)
    problem = caught.value.problems[0]
    assert (
        "GiB" in str(problem.value)
        and "0.1 GiB" in problem.expected
        and "--set train.gradient_checkpointing=true" in problem.hint
    )


def test_a_full_fine_tune_that_does_not_fit_is_offered_its_states_on_disk() -> None:
    full = {"method": {"kind": "full"}}
    with pytest.raises(TrainingError) as caught:
        plan(full, free=100 * 2**20)
    assert "--set train.optimizer_states=disk" in caught.value.problems[0].hint
    on_disk = {**full, "train": {"optimizer_states": "disk"}}
    with pytest.raises(TrainingError) as again:
        plan(on_disk, free=100 * 2**20)
    assert "optimizer_states" not in again.value.problems[0].hint
    usual, held = plan(full), plan(on_disk)
    assert usual.numbers["least_memory_bytes"] - held.numbers["least_memory_bytes"] == 8 * usual.numbers["trainable"]
    assert "reads and writes" in line(held, "states").reason + line(held, "states").value


@pytest.mark.parametrize(("name", "bytes_each"), [("float32", 16), ("bfloat16", 8)])
def test_weights_of_a_full_fine_tune_have_gradient_and_moments_in_their_own_type(name: str, bytes_each: int) -> None:
    def least(trainable: int) -> int:
        adapter = AdapterFacts(8, 28, trainable, {}, {})
        made = plan({"method": {"kind": "full"}}, adapter=adapter, precision=replace(PRECISION, name=name))
        return int(made.numbers["least_memory_bytes"])

    weights = SHAPE.num_parameters * bytes_each // 4
    assert least(SHAPE.num_parameters) - least(0) + weights == SHAPE.num_parameters * bytes_each


def test_the_way_out_needs_less_memory() -> None:
    needed = plan().numbers["least_memory_bytes"]
    assert plan({"train": {"gradient_checkpointing": True}}).numbers["least_memory_bytes"] < needed
    assert plan(data=replace(DATA, longest=900)).numbers["least_memory_bytes"] > needed
    shorter = plan(data=replace(DATA, longest=900, limit=100)).numbers
    assert shorter["least_memory_bytes"] < needed


def test_a_batch_that_does_not_fit_whole_is_no_reason_to_refuse_for_it_goes_through_in_parts() -> None:
    large, little = {"train": {"batch_examples": 512}}, 800 * 2**20
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


def test_merging_counts_the_file_of_the_base_and_the_check_of_the_sums_both_files() -> None:
    """Measured on SmolLM2-135M: 513 MiB of mapped pages while merged weights are written, twice that while they are checked."""
    held, more = (plan(base=BaseFacts("tiny", file_bytes=size)).numbers for size in (0, 2**30))
    assert more["stage_bytes"]["merging"] == held["stage_bytes"]["merging"] + 2**30
    assert more["stage_bytes"]["evaluation"] > 2**31 > held["stage_bytes"]["evaluation"]
    assert more["memory_bytes"] == more["stage_bytes"]["evaluation"]


def test_an_evaluation_that_takes_more_than_training_is_the_peak() -> None:
    """Planted: hundreds of long answers at once; a plan of training alone would not see them."""
    few, many = (plan({"eval": {"batch_examples": n}}, data=replace(DATA, num_test=400, room=700)) for n in (1, 256))
    assert many.numbers["largest_stage"] == "evaluation"
    assert many.numbers["memory_bytes"] > few.numbers["memory_bytes"] and training(data=DATA) < many.numbers["memory_bytes"]
    over = plan(data=replace(DATA, num_test=400, room=700), free=650 * 2**20)
    assert "more than" in line(over, "memory").reason and "eval.batch_examples=16" in line(over, "memory").reason


def test_draws_and_suites_count_for_the_answers_that_are_in_work_at_once() -> None:
    def evaluation(overrides: dict[str, Any], **data: Any) -> int:
        numbers = plan(overrides, data=replace(DATA, num_test=20, room=300, **data)).numbers
        return int(numbers["stage_bytes"]["evaluation"])

    drawn, greedy = ({"use": {"temperature": t, "top_p": 0.9, "repetition_penalty": 1.1}} for t in (0.7, 0.0))
    alone = evaluation(greedy)
    assert evaluation(drawn) > alone < evaluation(greedy, suite_items=364, suite_tokens=364 * 300)


def test_validation_and_evaluation_have_times_of_their_own() -> None:
    usual, n = plan(), plan().numbers
    assert n["total_seconds"] == pytest.approx(n["seconds"] + n["validation_seconds"] + n["evaluation_seconds"], abs=0.2)
    assert all(f"{name} " in line(usual, "time").value for name in ("training", "validation", "evaluation"))
    rarely = plan({"train": {"evaluate_every": 50}}).numbers
    assert rarely["validation_seconds"] < n["validation_seconds"] and rarely["seconds"] == n["seconds"]
    more = plan(data=replace(DATA, num_test=100)).numbers
    assert more["evaluation_seconds"] > 1.5 * n["evaluation_seconds"] and more["seconds"] == n["seconds"]
    without = plan({"eval": {"baselines": []}}).numbers
    assert without["evaluation_seconds"] < n["evaluation_seconds"]
    ladder = plan({"eval": {"baselines": ["prompted", "few_shot", "retrieval"], "additions": ["tuned_retrieval"]}}).numbers
    assert ladder["evaluation_seconds"] > n["evaluation_seconds"]
    assert ladder["stage_bytes"]["evaluation"] >= n["stage_bytes"]["evaluation"]
    asked = plan(data=replace(DATA, suite_items=422, suite_tokens=422 * 64)).numbers
    assert asked["evaluation_seconds"] > 1.4 * n["evaluation_seconds"]


@pytest.mark.parametrize("busy", [False, True])
def test_a_busy_machine_is_told_with_the_time(busy: bool) -> None:
    recipe = recipe_from({"sources": ["x"]})
    made = make_plan(
        recipe, DATA, SHAPE, Hardware(2, 8 * 2**30, busy), PRECISION, base=BaseFacts("tiny"), adapter=ADAPTER, detectable=0.9
    )
    assert ("the machine is busy" in line(made, "time").reason) == busy == made.numbers["busy"]


@pytest.mark.parametrize(("documents", "settings", "few"), [(5, {}, 5), (6, {}, 0), (4, {"split": {"folds": 3, "fold": 1}}, 0)])
def test_too_few_test_documents_for_a_verdict_are_told_before_training(
    documents: int, settings: dict[str, Any], few: int
) -> None:
    made = plan(settings, data=replace(DATA, test_documents=documents))
    assert made.numbers["few_documents"] == few
    base = cast(BaseFolder, SimpleNamespace(name="tiny", origin=""))
    told = plan_event(made, base=base, method="lora", rank=8, precision=cast(Precision, PRECISION))
    warned = [one.text for one in told.lines if one.kind == "warning" and "crossfit" in one.text]
    assert ("crossfit" in line(made, "power").reason) == bool(few)
    assert len(warned) == bool(few) and all(f"{few} test documents are too few" in text for text in warned)


def test_what_training_in_bfloat16_leaves_in_the_process_counts_in_training_and_evaluation() -> None:
    plain, rounded = (plan(precision=replace(PRECISION, name=name)).numbers["stage_bytes"] for name in ("float32", "bfloat16"))
    left = left_by_training(SHAPE, bytes_a_weight=2)
    assert 0 < left <= 4 * SHAPE.num_parameters and left_by_training(SHAPE, bytes_a_weight=4) == 0
    assert rounded["evaluation"] - plain["evaluation"] == left == rounded["merging"] - plain["merging"]


def test_longer_work_takes_longer() -> None:
    assert plan({"train": {"epochs": 12}}).numbers["seconds"] > 1.8 * plan({"train": {"epochs": 6}}).numbers["seconds"]


@pytest.mark.parametrize("detectable", [None, math.inf])
def test_an_effect_that_cannot_be_told_is_said_and_not_made_up(detectable: float | None) -> None:
    assert line(plan(detectable=detectable), "power").value == "unknown: too few test documents"


def test_the_plan_says_whether_layers_will_be_compiled_by_the_time_that_the_steps_take() -> None:
    long = {"max_steps": 200_000}
    assert not any(x.name == "compiling" for x in plan({"train": long}).lines)
    assert "measured to be faster" in line(plan({"train": long | {"compile": "auto"}}), "compiling").value
    short = line(plan({"train": {"max_steps": 50, "compile": "auto"}}), "compiling")
    assert short.value == "layers probably not compiled" and "50 steps" in short.reason
    assert "a minute before" in line(plan({"train": {"compile": True}}), "compiling").value


def test_the_plan_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, tunesmith.pipeline.plan, tunesmith.plan.hardware, tunesmith.plan.shape, tunesmith.plan.steps;"
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


def test_a_method_that_draws_its_answers_is_planned_with_them() -> None:
    plain = plan()
    drawn = plan(drawing=DrawingFacts(samples=4, max_new_tokens=50, updates=1))
    twice = plan(drawing=DrawingFacts(samples=4, max_new_tokens=50, updates=2))
    assert drawn.numbers["steps"] == plain.numbers["steps"] and twice.numbers["steps"] == 2 * plain.numbers["steps"]
    assert drawn.numbers["tokens"] == (200 + 4 * 50) * 8 * drawn.numbers["steps"]
    assert drawn.numbers["seconds"] > 2 * plain.numbers["seconds"]  # twice the tokens, and drawing them
    assert drawn.numbers["stage_bytes"]["training"] > plain.numbers["stage_bytes"]["training"]
    assert drawn.numbers["longest"] == DATA.longest
    assert "4 answers of at most 50 tokens to each of 8 prompts" in line(drawn, "answers").value
    assert "2 steps" in line(twice, "answers").reason and all(x.name != "answers" for x in plain.lines)
    assert plan({"train": {"max_steps": 7}}, drawing=DrawingFacts(4, 50, 2)).numbers["steps"] == 7
    taught = plan(drawing=DrawingFacts(samples=4, max_new_tokens=50, updates=1, beside=10**9))
    assert taught.numbers["least_memory_bytes"] - drawn.numbers["least_memory_bytes"] in (2 * 10**9, 4 * 10**9)


def test_what_rows_of_a_unit_begin_with_in_common_takes_memory_once_and_twice_where_nothing_is_shared() -> None:
    def least(data: DataFacts, **train: Any) -> int:
        return int(plan({"train": train}, data=data).numbers["least_memory_bytes"])

    apart, shared = replace(DATA, together=2), replace(DATA, together=2, unit=350)
    assert least(DATA) < least(shared) < least(apart)
    assert least(shared, precision="exact") == least(apart, precision="exact") == least(apart)
    assert least(replace(shared, unit=900)) == least(apart)  # two rows have no more than twice the longest


def test_drawn_answers_share_their_prompt_and_are_held_as_keys_and_values_while_they_are_drawn() -> None:
    def held(samples: int, room: int, **data: Any) -> Any:
        drawing = DrawingFacts(samples=samples, max_new_tokens=room, updates=1)
        return plan(data=replace(DATA, **data), drawing=drawing).numbers

    assert held(4, 50, prompt=40)["least_memory_bytes"] < held(4, 50)["least_memory_bytes"]  # the row's own answer is not read
    assert held(8, 50, prompt=40)["tokens_at_once"] == max(ENOUGH, 40 + 8 * 50)
    keys = 8 * SHAPE.layers * SHAPE.key_width * (40 + 500 + 32)
    assert held(64, 500, prompt=40)["stage_bytes"]["training"] > 8 * 64 * keys  # 8 prompts with 64 answers each


def test_putting_a_base_into_four_bits_counts_its_file_and_all_weights_beside_them() -> None:
    """Traced on SmolLM2-135M: the peak of QLoRA is before the first step."""

    def held(**method: Any) -> int:
        made = plan({"method": method}, base=BaseFacts("tiny", file_bytes=2**30))
        return int(made.numbers["stage_bytes"]["training"])

    assert held(quantise="nf4") > 2**30 > held()
