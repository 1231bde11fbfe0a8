"""Which systems there are, and what is compared with what."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_systems import added, toy

from tunesmith.api import Project
from tunesmith.core.errors import EvaluationError, RecipeError
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.systems.registry import baseline_kinds, by_role, kind_of, pairs, system_kinds, title_of


def test_the_systems_of_today_stand_in_the_order_of_the_tables() -> None:
    baselines = ["prompted", "few_shot", "retrieval", "retrieval_embeddings"]
    assert [kind.name for kind in system_kinds()] == [
        "base",
        *baselines,
        "tuned",
        "tuned_retrieval",
        "merged",
        "served",
        "bigger",
    ]
    assert [kind.name for kind in (*by_role("reference"), *by_role("subject"))] == ["base", "tuned"]


def test_pairs_follow_from_what_each_system_is(tmp_path: Path) -> None:
    baselines = [kind.name for kind in by_role("baseline")]
    ours = [("base", "tuned"), *((name, "tuned") for name in baselines), *(("base", name) for name in baselines)]
    ours += [("tuned", "merged"), ("tuned", "served"), ("tuned", "tuned_retrieval"), ("tuned", "bigger")]
    assert pairs() == ours
    with added(tmp_path, parrot=toy("parrot", 'role="baseline"'), echo=toy("echo", 'role="form"')):
        assert set(pairs()) - set(ours) == {("parrot", "tuned"), ("base", "parrot"), ("tuned", "echo")}
    assert pairs() == ours


def test_two_files_with_one_name_are_an_error(tmp_path: Path) -> None:
    with added(tmp_path, twice=toy("base", 'role="baseline"')), pytest.raises(EvaluationError, match="same system") as caught:
        system_kinds()
    assert caught.value.problems[0].value == "base" and caught.value.problems[0].hint


def test_a_baseline_that_no_file_declares_is_told_of_before_anything_is_made(tmp_path: Path) -> None:
    recipe = recipe_from({"sources": ["./posts"], "eval": {"baselines": ["promted"]}})
    with pytest.raises(RecipeError, match="not a baseline") as caught:
        Project(recipe, tmp_path)
    problem = caught.value.problems[0]
    assert (problem.value, problem.hint) == ("promted", "--set eval.baselines=[prompted]")
    with pytest.raises(RecipeError):
        baseline_kinds(["tuned"])  # a system, and not a baseline


def test_a_system_of_older_evidence_that_nothing_declares_keeps_its_name() -> None:
    assert kind_of("gone") is None and title_of("gone") == "gone" and title_of("prompted") == "base with a prompt"
