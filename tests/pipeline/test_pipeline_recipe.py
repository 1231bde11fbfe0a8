"""The recipe: every mistake at once with its place and the nearest match; one declaration a knob."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.errors import Problem, RecipeError
from tunesmith.models.template_options import DATE, ENABLE_THINKING, OPTIONS
from tunesmith.pipeline.recipe import PRESETS, Recipe
from tunesmith.pipeline.recipe_file import knobs, load_recipe, recipe_from
from tunesmith.pipeline.recipe_page import reference_page
from tunesmith.pipeline.sections.dataset import TemplateConfig
from tunesmith.pipeline.sections.run import MethodConfig
from tunesmith.train.method import method_names, settings_of
from tunesmith.train.optimizer import optimizer_names, settings_of_optimizer
from tunesmith.train.settings import AdapterSettings, TrainSettings, values_of

SOURCES = {"sources": ["./posts"]}


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "tunesmith.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def problems(data: dict[str, Any] | Path, *overrides: str) -> tuple[Problem, ...]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(data, overrides) if isinstance(data, Path) else recipe_from(data, overrides)
    for problem in caught.value.problems:
        assert problem.what and problem.expected and problem.hint and len(problem.lines()) == 3
    return caught.value.problems


def test_three_mistakes_are_three_problems_at_once_with_places_and_nearest_matches(tmp_path: Path) -> None:
    file = written(tmp_path, "sources: [./posts]\ntrain:\n  epochs: -1\n  learning_rat: 1e-4\nsplitt:\n  val: 0.1\n")
    found = problems(file)
    assert [p.where for p in found] == [f"{file}:3:3", f"{file}:4:3", f"{file}:5:1"]
    assert found[0].value == -1 and "greater than 0" in found[0].expected
    assert found[1].hint == "did you mean train.learning_rate?"
    assert "split" in found[2].hint


def test_mistakes_in_the_file_and_on_the_command_line_are_told_together(tmp_path: Path) -> None:
    file = written(tmp_path, "sources: [./posts]\nbase: 3\n")
    found = problems(file, "train.epochs=many", "train.epochs", "method.rnak=4")
    assert len(found) == 4
    assert {"did you mean method.rank?"} <= {p.hint for p in found}


def test_a_setting_written_twice_is_told_with_both_places_where_yaml_would_keep_the_last(tmp_path: Path) -> None:
    file = written(tmp_path, "sources: [./posts]\ntrain:\n  epochs: 3\n  seed: 1\n  seed: 2\ntrain:\n  seed: 4\n")
    found = problems(file)
    assert [(p.value, p.where) for p in found] == [
        ("train.seed", f"{file}:5:3"),
        ("train", f"{file}:6:1"),
        ("train.seed", f"{file}:7:3"),
    ]
    assert "line 2" in found[1].expected


def test_a_section_with_nothing_open_in_it_sets_nothing(tmp_path: Path) -> None:
    assert load_recipe(written(tmp_path, "sources: [./posts]\ntrain:\n# epochs: 3\neval:\n")) == recipe_from(SOURCES)
    assert problems(written(tmp_path, "sources: [./posts]\nbase:\n"))[0].what == "wrong value for base"


def test_a_part_of_a_json_answer_can_be_the_primary_metric_and_a_field_without_name_cannot() -> None:
    assert recipe_from(SOURCES, ["eval.primary=json_field:action,order.id"]).eval.primary == "json_field:action,order.id"
    for wrong in ("json_field:", "json_field", "json_field:a,", "accuracy"):
        (found,) = problems(SOURCES, f"eval.primary={wrong}")
        assert found.what == "wrong value for eval.primary" and "json_field:action" in found.hint


@pytest.mark.parametrize("text", ["Write plainly. # no lists", "123456", "yes", "2e3", "a: b"])
def test_a_text_on_the_command_line_is_taken_as_it_is_typed(text: str) -> None:
    assert recipe_from(SOURCES, [f"me={text}"]).me == text
    assert recipe_from(SOURCES, [f"me='{text}'"]).me == text


def test_yes_is_no_number() -> None:
    assert problems({**SOURCES, "train": {"patience": True}})[0].what == "wrong value for train.patience"
    assert recipe_from({**SOURCES, "train": {"compile": True, "gradient_checkpointing": True}}).train.compile is True


def test_hints_name_what_was_probably_meant(tmp_path: Path) -> None:
    (found,) = problems(written(tmp_path, "sources: ./posts\n"))
    assert found.hint == "sources: [./posts]"
    assert problems({"sources": [""]})[0].hint == "sources: [./posts]"
    assert problems(SOURCES, "epochs=3")[0].hint == "did you mean train.epochs?"


def test_a_set_path_changes_one_knob_and_leaves_the_rest() -> None:
    recipe = recipe_from(SOURCES, ["train.epochs=3", "method.targets=[q_proj, v_proj]", "eval.baselines=[]", "quality=draft"])
    assert recipe.train.epochs == 3 and recipe.method.targets == ["q_proj", "v_proj"] and recipe.eval.baselines == []
    assert recipe.train.batch_examples == Recipe(sources=["x"]).train.batch_examples and recipe.method.rank == 8


@pytest.mark.parametrize("text", ["2e-4", "0.0002", "2E-4", "0.2e-3"])
def test_a_number_is_a_number_however_it_is_typed(text: str, tmp_path: Path) -> None:
    assert recipe_from(SOURCES, [f"train.learning_rate={text}"]).train.learning_rate == 2e-4
    file = written(tmp_path, f"sources: [./posts]\ntrain: {{learning_rate: {text}}}\n")
    assert load_recipe(file).train.learning_rate == 2e-4


@pytest.mark.parametrize(
    "override", ["train.epochs=nan", "train.epochs=inf", "train.learning_rate=inf", "train.learning_rate=nan"]
)
def test_what_is_no_number_is_refused(override: str) -> None:
    assert problems(SOURCES, override)


@pytest.mark.parametrize("name", ["infinity", "nan", "1e3", "007", "true", "null"])
def test_a_name_that_looks_like_a_number_stays_a_name(name: str) -> None:
    assert recipe_from({**SOURCES, "base": name}).base == name


def test_a_preset_fills_only_what_is_not_set() -> None:
    best = recipe_from({**SOURCES, "quality": "best", "train": {"epochs": 2}})
    assert best.train.epochs == 2 and best.train.patience == PRESETS["best"]["train"]["patience"]
    assert recipe_from({**SOURCES, "quality": "best"}, ["method.rank=3"]).method.rank == 3
    assert recipe_from({**SOURCES, "quality": "best"}).method.rank == PRESETS["best"]["method"]["rank"]


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("change", ["train.max_steps=5", "train.patience=0", "train.evaluate_every=0", "build.style=examples"])
def test_a_preset_never_makes_a_knob_without_effect_that_nobody_wrote(name: str, change: str) -> None:
    assert recipe_from({**SOURCES, "quality": name}, [change])


WITHOUT_EFFECT: dict[str, dict[str, Any]] = {
    "train.patience": ({"train": {"evaluate_every": 0, "patience": 3}}),
    "train.min_delta": ({"train": {"patience": 0, "min_delta": 0.1}}),
    "train.epochs": ({"train": {"max_steps": 10, "epochs": 2}}),
    "build.passage_words": ({"build": {"style": "examples", "passage_words": 50}}),
    "eval.baselines": ({"objective": {"kind": "cpt"}, "eval": {"baselines": ["few_shot"]}}),
    "eval.suites": ({"objective": {"kind": "reward"}, "eval": {"suites": ["general"]}}),
    "mix.own_answers": ({"objective": {"kind": "dpo"}, "mix": {"own_answers": True}}),
}


@pytest.mark.parametrize("kind", ["dpo", "grpo", "rloo", "ppo"])
def test_own_answers_are_for_objectives_that_learn_from_the_answers_of_rows(kind: str) -> None:
    found = problems({**SOURCES, "objective": {"kind": kind}, "mix": {"own_answers": True}})
    assert [p.what for p in found if p.what.startswith("mix")] == ["mix.own_answers has no effect"]


@pytest.mark.parametrize("knob", sorted(WITHOUT_EFFECT))
def test_a_knob_that_would_do_nothing_is_an_error(knob: str) -> None:
    found = problems({**SOURCES, **WITHOUT_EFFECT[knob]})
    assert [p.what for p in found] == [f"{knob} has no effect"]


def test_stages_share_settings_that_some_of_them_do_not_read() -> None:
    stages = {"texts": {"objective": {"kind": "cpt"}}, "answers": {"objective": {"kind": "sft"}}}
    made = recipe_from({**SOURCES, "stages": stages, "eval": {"baselines": ["few_shot"]}})
    assert made.eval.baselines == ["few_shot"]


def test_every_knob_is_documented_typed_and_has_a_default_that_is_valid() -> None:
    everything = knobs()
    assert len(everything) > 35 and len({k.name for k in everything}) == len(everything)
    for knob in everything:
        assert knob.text.strip().endswith(("?", ".")) and len(knob.text) > 15, knob.name
        assert knob.type and "typing" not in knob.type, knob.name
        if knob.default is not None:
            recipe_from(
                SOURCES if knob.name != "sources" else {},
                [f"{knob.name}={yaml.safe_dump(knob.default, default_flow_style=True).replace('...', '').strip()}"],
            )


@pytest.mark.parametrize(
    "text", ["", "- a\n- b\n", "just words", "sources: [", "a: b: c", "\tx: 1", "sources: !!python/object:os.x {}"]
)
def test_a_file_that_is_no_recipe_is_a_problem_and_not_a_crash(text: str, tmp_path: Path) -> None:
    assert problems(written(tmp_path, text))


def test_a_missing_file_and_one_in_another_encoding_are_told(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.yaml")[0].hint == "tunesmith init"
    (tmp_path / "tunesmith.yaml").write_bytes("sources: [caf\xe9]".encode("latin-1"))
    assert "UTF-8" in problems(tmp_path / "tunesmith.yaml")[0].hint


@pytest.mark.parametrize(
    "data",
    [{"sources": [""]}, {"train": 3}, {"train": [1]}, {"sources": []}, {"sources": "x"}, {"quality": "bset"}, {"quality": [1]}],
)
def test_a_section_or_value_of_the_wrong_shape_is_a_problem(data: dict[str, Any]) -> None:
    assert problems({**SOURCES, **data})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["epochs", "val", "rank", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["sources", "train", "split", "method", "build", "base", "quality", "odd"]), JSON))
def test_no_recipe_whatever_it_holds_gives_anything_but_a_recipe_or_problems(data: dict[str, Any]) -> None:
    try:
        recipe = recipe_from(data)
    except RecipeError as error:
        assert error.problems
    else:
        assert math.isfinite(recipe.train.epochs)


@given(st.text(max_size=20), st.text(max_size=12))
def test_no_override_whatever_is_typed_gives_a_crash(name: str, value: str) -> None:
    try:
        recipe_from(SOURCES, [f"{name}={value}"])
    except RecipeError as error:
        assert error.problems


def test_a_value_that_is_none_of_several_types_is_one_problem() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from({"sources": ["./posts"], "train": {"tokens_at_once": "some", "evaluate_every": "never"}})
    assert sorted(problem.what for problem in caught.value.problems) == [
        "wrong value for train.evaluate_every",
        "wrong value for train.tokens_at_once",
    ]


def test_the_reference_page_of_the_recipe_is_the_one_that_the_declarations_make() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "recipe.md"
    optimizers = {kind: settings_of_optimizer(kind) for kind in optimizer_names()}
    made = reference_page({kind: settings_of(kind) for kind in method_names()}, optimizers)
    assert page.read_text(encoding="utf-8") == made, "python -m tunesmith.api.reference recipe > docs/reference/recipe.md"


def test_what_training_reads_is_all_that_its_sections_hold_so_that_a_checkpoint_knows_every_setting() -> None:
    """Planted: a section with one setting more, which training does not read and a checkpoint would not see."""
    recipe = recipe_from({**SOURCES, "quality": "best", "train": {"seed": 3}})
    assert values_of(recipe.method, AdapterSettings) == recipe.method.model_dump()
    assert values_of(recipe.train, TrainSettings) == recipe.train.model_dump()

    class More(MethodConfig):
        warmth: int = 3

    assert values_of(More(), AdapterSettings) != More().model_dump()


def test_the_names_and_defaults_of_template_options_are_those_that_templates_are_read_by() -> None:
    assert tuple(TemplateConfig.model_fields) == OPTIONS
    assert TemplateConfig().model_dump() == {"enable_thinking": ENABLE_THINKING, "date": DATE}


def test_a_recipe_is_read_without_torch() -> None:
    code = "import sys; from tunesmith.api.recipes import new_recipe; new_recipe();"
    code += "print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
