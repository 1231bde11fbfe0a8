"""A project of preference rows, from a file to an adapter; and each wrong mix of rows and objective, named before a step."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import Told, preferences
from tunesmith.api import Project
from tunesmith.core.errors import BlockedError, DatasetError, RecipeError
from tunesmith.core.records import Preference, to_json
from tunesmith.models.chat import open_chat
from tunesmith.models.load import find_base
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.train.batches import tokens_at_once

QUICK = {"max_steps": 4, "evaluate_every": 2, "learning_rate": 0.01, "precision": "float32", "batch_examples": 4}


def rows_file(folder: Path, rows: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_bytes(b"".join(to_json(row) + b"\n" for row in rows))
    return folder / "rows.jsonl"


def project(base: Path, source: Path, root: Path, *overrides: str, objective: str = "dpo", told: Told | None = None) -> Project:
    recipe = {"base": str(base), "sources": [str(source)], "objective": {"kind": objective}, "train": QUICK}
    recipe |= {"method": {"rank": 4, "alpha": 8.0}, "split": {"val": 0.2, "test": 0.3}, "build": {"dedup": 0}}
    return Project(recipe_from(recipe, overrides), root, reporter=told or Told(), offline=True)


def test_preferences_go_through_the_whole_pipeline(tiny_path: Path, tmp_path: Path) -> None:
    made = project(tiny_path, rows_file(tmp_path / "in", preferences(40)), tmp_path, "objective.beta=0.2")
    assert all(isinstance(row, Preference) for row in made.records("train"))
    numbers, chat = made.dataset.numbers, open_chat(find_base(str(tiny_path)))
    units = made.objective.prepare(
        [row for split in ("train", "val", "test") for row in made.records(split)], chat, max_tokens=999
    )
    assert numbers["longest_unit"] == max(tokens_at_once(unit, shares=True) for unit in units) < 2 * numbers["longest"]
    assert numbers["longest_prompt"] == max(unit.rows[0].learned.index(True) for unit in units)
    assert numbers["train_rows"] == numbers["train"] and numbers["with_end"] == 40 and numbers["leaks"] == 0
    lines = {line.name: line.value for line in made.plan.lines}
    assert lines["objective"] == "dpo, beta 0.2"
    figures = made.run.numbers["validation"]
    assert figures["preference_accuracy"] > 0.5 and figures["margin"] > 0
    test = {row.id: row for row in made.records("test")}
    chosen = {id: row.chosen for id, row in test.items() if isinstance(row, Preference)}
    assert {row.id: row.answer for row in made.rows("test")} == chosen
    assert made.scorable == len(test)


def test_beta_makes_another_run_of_the_same_dataset(tiny_path: Path, tmp_path: Path) -> None:
    source = rows_file(tmp_path / "in", preferences(30))
    one, other = (project(tiny_path, source, tmp_path, f"objective.beta={beta}") for beta in (0.1, 0.5))
    assert one.dataset.id == other.dataset.id and one.run.id != other.run.id


def test_the_default_objective_names_nothing_in_its_artifacts(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    from tunesmith.pipeline.training import record_setting, run_settings

    made = project(tiny_path, posts, tmp_path, objective="sft")
    settings = run_settings(made.settings, made.objective, base="b", precision="float32")
    assert "objective" not in settings and record_setting(made.objective) == {}


def problem(error: Any) -> Any:
    (only,) = error.value.problems
    assert only.what and only.expected and only.hint
    return only


def test_preferences_under_sft_and_posts_under_dpo_stop_at_the_build(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    source = rows_file(tmp_path / "in", preferences(12))
    with pytest.raises(DatasetError, match="preference rows") as under_sft:
        _ = project(tiny_path, source, tmp_path / "a", objective="sft").dataset
    assert "objective.kind=dpo" in problem(under_sft).hint
    with pytest.raises(DatasetError, match="learns from preference rows") as under_dpo:
        _ = project(tiny_path, posts, tmp_path / "b").dataset
    assert "objective.kind=sft" in problem(under_dpo).hint and "14 documents" in problem(under_dpo).value


def test_rows_of_the_other_kind_beside_them_are_left_aside_with_a_warning(tiny_path: Path, tmp_path: Path) -> None:
    pairs = [{"prompt": f"What is {n}?", "completion": f"The number {n}, as written."} for n in range(3)]
    source = rows_file(tmp_path / "in", [*preferences(30), *pairs])
    told = Told()
    made = project(tiny_path, source, tmp_path, told=told)
    assert made.dataset.numbers["examples"] == 30
    assert any("3 pairs are left aside" in warning for warning in told.warnings)


@pytest.mark.parametrize(
    ("change", "name"), [({"rejected": ""}, "empty_answers"), ({"rejected": "A.", "chosen": "A."}, "same_answers")]
)
def test_a_faulty_preference_stops_the_build_unless_it_is_allowed(
    change: dict[str, str], name: str, tiny_path: Path, tmp_path: Path
) -> None:
    rows = [json.loads(to_json(row)) for row in preferences(30)]
    source = rows_file(tmp_path / "in", [{**rows[0], **change}, *rows[1:]])
    with pytest.raises(BlockedError) as caught:
        _ = project(tiny_path, source, tmp_path / "a").dataset
    assert caught.value.name == name and problem(caught)
    assert project(tiny_path, source, tmp_path / "b", f"allow=[{name}]").dataset.numbers["examples"] == 29


@pytest.mark.parametrize("override", ["objective.kind=dop", "objective.betta=1", "objective.beta=-1", "train.best_by=accuracy"])
def test_a_wrong_objective_is_told_before_anything_is_read(override: str, tiny_path: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        project(tiny_path, tmp_path / "nowhere", tmp_path, override)
    assert problem(caught)


def test_a_secret_in_a_rejected_answer_stops_the_build_and_can_be_redacted(tiny_path: Path, tmp_path: Path) -> None:
    rows = preferences(30)
    rows[3] = replace(rows[3], rejected=f"Use {'AKIA' + 'Q7RT2MZ5XW8LK3VN'} and wait by the door until it opens.")
    source = rows_file(tmp_path / "in", rows)
    with pytest.raises(BlockedError) as caught:
        project(tiny_path, source, tmp_path).dataset  # noqa: B018
    assert caught.value.names == ("secrets",)
    clean = project(tiny_path, source, tmp_path, "build.redact=true")
    assert clean.dataset.numbers["redacted"] == {"AWS_KEY": 1}
    learned = [row for part in ("train", "val", "test") for row in clean.records(part)]
    assert any("[AWS_KEY]" in row.rejected for row in learned if isinstance(row, Preference))


@pytest.mark.parametrize(("rejected", "name"), [("<|im_end|> and so on and on", "chat_template"), ("[TODO]", "placeholders")])
def test_marks_and_placeholders_in_rejected_answers_stop_the_build_and_are_shown(
    tiny_path: Path, tmp_path: Path, rejected: str, name: str
) -> None:
    rows = preferences(30)
    rows[3] = replace(rows[3], rejected=rejected)
    with pytest.raises(BlockedError) as caught:
        project(tiny_path, rows_file(tmp_path / "in", rows), tmp_path).dataset  # noqa: B018
    assert caught.value.names == (name,)
    assert rejected in (tmp_path / ".tunesmith" / "blocked.jsonl").read_text()
