"""The rows of the recipes: right answers, no row twice, the same on every call, and forms that a split keeps whole."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from tunesmith.pipeline.recipe_file import load_recipe
from tunesmith.serve.traffic.file import read_traffic_file

RECIPES = Path(__file__).parents[2] / "recipes"
if not RECIPES.is_dir():
    pytest.skip("the recipes travel with the repository, not with the package", allow_module_level=True)
WITH_ROWS = sorted(path.parent.name for path in RECIPES.glob("*/rows.py") if path.parent.name != "apprentice")


def module(name: str, file: str = "rows") -> Any:
    spec = importlib.util.spec_from_file_location(f"{file}_of_{name.replace('-', '_')}", RECIPES / name / f"{file}.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("name", WITH_ROWS)
def test_rows_of_a_recipe_are_the_same_on_every_call_and_none_comes_twice(name: str) -> None:
    made = module(name).rows()
    assert made == module(name).rows()
    assert len({json.dumps(row, sort_keys=True) for row in made}) == len(made) >= 150


TRAFFIC = RECIPES / "routing" / "traffic.yaml"


@pytest.mark.parametrize("file", sorted({*RECIPES.glob("*/*.yaml")} - {TRAFFIC}), ids=lambda file: file.parent.name)
def test_recipe_files_are_valid_recipes(file: Path) -> None:
    assert load_recipe(file).base == "smollm2"


def test_the_traffic_of_the_routing_pair_is_a_valid_file() -> None:
    assert read_traffic_file(TRAFFIC).route.keys() == {"mine"}


def test_tickets_cover_every_label_evenly_and_no_form_stands_under_two() -> None:
    made = module("tickets").rows()
    labels = [row["completion"] for row in made]
    assert {label: labels.count(label) for label in set(labels)} == dict.fromkeys(module("tickets").LABELS, 60)
    assert all(row["form"].startswith(row["completion"]) for row in made)


def test_json_answers_follow_the_schema_and_name_the_order_that_was_asked_about() -> None:
    schema = json.loads((RECIPES / "support-json" / "schema.json").read_text())
    for row in module("support-json").rows():
        answer = json.loads(row["messages"][-1]["content"])
        validate(answer, schema)
        assert answer["order"] in row["messages"][-2]["content"]
        assert row["form"].startswith(answer["action"])


def test_extracted_facts_stand_in_the_notice_word_for_word() -> None:
    for row in module("extraction").rows():
        facts = dict(line.split(": ", 1) for line in row["completion"].splitlines())
        assert list(facts) == ["who", "what", "where", "when"]
        notice = row["prompt"].split("\n\n", 1)[1].lower()
        assert all(value == "-" or value.lower() in notice for value in facts.values())


def test_every_line_of_code_runs_and_calls_the_library_once() -> None:
    code = module("code")
    for row in code.rows():
        shelf = code.Shelf()
        exec(row["completion"], {"shelf": shelf})
        assert len(shelf.calls) == 1
        assert all(number in shelf.calls[0] for number in re.findall(r"\d+", row["prompt"].split("# ")[1]))


def test_sums_are_right_and_no_pair_of_numbers_occurs_twice() -> None:
    made = module("arithmetic").rows()
    pairs = [tuple(map(int, re.findall(r"\d+", row["prompt"]))) for row in made]
    assert all(row["completion"] == f"ANSWER: {a + b}" for row, (a, b) in zip(made, pairs, strict=True))
    assert len(set(pairs)) == len(pairs)


def test_the_wordy_answer_holds_the_short_one_and_is_at_least_three_times_as_long() -> None:
    for row in module("brevity").rows():
        assert row["chosen"] in row["rejected"]
        assert len(row["rejected"]) > 3 * len(row["chosen"])


def test_half_of_the_answers_as_they_came_are_wordy() -> None:
    made = module("brevity").answers()
    short, wordy = ([row["completion"] for row in made[first::2]] for first in (0, 1))
    assert all(few in many and len(many) > 3 * len(few) for few, many in zip(short, wordy, strict=True))
    assert {row["question"] for row in made} == {row["question"] for row in module("brevity").rows()}


def test_most_names_and_days_of_notices_are_rare() -> None:
    said = [dict(line.split(": ", 1) for line in row["completion"].splitlines()) for row in module("extraction").rows()]
    for part, least in (("who", 40), ("what", 30), ("where", 40), ("when", 60)):
        assert len({facts[part] for facts in said}) >= least


def test_the_reward_of_sums_wants_the_number_in_its_form() -> None:
    right = module("arithmetic", "reward").right
    assert right("ANSWER: 12", "ANSWER: 12") == 1 and right(" ANSWER: 12\n", "ANSWER: 12") == 1
    assert right("ANSWER: 13", "ANSWER: 12") == pytest.approx(0.2)
    assert right("12", "ANSWER: 12") == right("ANSWER: 12 or so", "ANSWER: 12") == right("", "ANSWER: 12") == 0
    assert all(right(row["completion"], row["completion"]) == 1 for row in module("arithmetic").rows())
