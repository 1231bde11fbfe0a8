"""What suits the size of a base: filled in where nobody wrote anything, and never over what somebody wrote."""

from __future__ import annotations

from typing import Any

import pytest

from tunesmith.pipeline.base_defaults import REAL_BASE, REAL_PRESETS, REWARDED, for_base
from tunesmith.pipeline.method_defaults import for_method
from tunesmith.pipeline.recipe import PRESETS, Recipe
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.train.method import method_names, settings_of


def recipe(overrides: list[str] | None = None, **data: Any) -> Recipe:
    return recipe_from({"sources": ["x"], **data}, overrides or [])


def real(recipe: Recipe) -> Recipe:
    return for_base(recipe, num_parameters=REAL_BASE)


def test_a_small_base_keeps_the_defaults() -> None:
    plain = recipe()
    assert for_base(plain, num_parameters=REAL_BASE - 1) is plain


@pytest.mark.parametrize("quality", sorted(REAL_PRESETS))
def test_a_real_base_gets_the_settings_of_its_quality(quality: Any) -> None:
    found = real(recipe(quality=quality))
    for section, values in REAL_PRESETS[quality].items():
        for key, value in values.items():
            assert getattr(getattr(found, section), key) == value
            assert f"{section}.{key}" in found.by_base


def test_what_is_written_down_stays_even_if_it_is_what_a_preset_says() -> None:
    epochs = PRESETS["draft"]["train"]["epochs"]
    written = real(recipe(quality="draft", train={"epochs": epochs}))
    assert written.train.epochs == epochs and "train.epochs" not in written.by_base
    assert real(recipe(["train.learning_rate=2e-3"])).train.learning_rate == 2e-3
    assert real(recipe(["method.layers=all"], quality="draft")).method.layers == "all"


def test_max_steps_stands_against_the_epochs_of_a_quality() -> None:
    assert "train.epochs" not in real(recipe(["train.max_steps=5"])).by_base


def test_a_full_fine_tune_takes_a_tenth_of_the_rate_unless_one_is_written() -> None:
    full = {"kind": "full"}
    found = for_method(real(recipe(method=full)))
    assert found.train.learning_rate == pytest.approx(1e-4) and "LoRA" in found.by_method["train.learning_rate"]
    written = for_method(real(recipe(method=full, train={"learning_rate": 3e-5})))
    assert written.train.learning_rate == 3e-5 and not written.by_method
    plain = recipe()
    assert for_method(plain) is plain


RATES = {"dpo": 5e-5, "kto": 5e-5, "simpo": 5e-5, "grpo": 1e-4, "rloo": 1e-4, "ppo": 1e-4}


@pytest.mark.parametrize("kind", sorted(RATES))
def test_methods_that_correct_a_tuned_model_take_a_share_of_the_rate_and_say_why(kind: str) -> None:
    found = for_method(real(recipe(objective={"kind": kind})))
    assert found.train.learning_rate == pytest.approx(RATES[kind])
    assert "supervised fine-tuning" in found.by_method["train.learning_rate"]
    assert for_method(real(recipe(objective={"kind": kind}, train={"learning_rate": 1e-3}))).train.learning_rate == 1e-3


def test_the_shares_of_weights_and_objective_are_multiplied() -> None:
    assert for_method(real(recipe(objective={"kind": "dpo"}, method={"kind": "full"}))).train.learning_rate == pytest.approx(
        5e-6
    )


def test_schedule_free_keeps_its_rate_unless_a_schedule_is_written() -> None:
    found = for_method(recipe(train={"optimizer": "schedule_free"}))
    assert found.train.schedule == "constant" and "averages" in found.by_method["train.schedule"]
    assert for_method(recipe(train={"optimizer": "schedule_free", "schedule": "wsd"})).train.schedule == "wsd"


def test_questions_that_no_reward_is_about_are_not_mixed_in() -> None:
    with_rewards = {kind for kind in method_names() if "rewards" in settings_of(kind).model_fields}
    assert with_rewards == set(REWARDED)
    for kind in method_names():
        found = real(recipe(objective={"kind": kind}))
        assert found.mix.own_answers is (kind not in REWARDED)
        assert ("mix.own_answers" in found.by_base) is (kind not in REWARDED)
