"""Promises of cross-fitting: every document is tested once by an adapter that did not see it, nothing is made twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import write_posts
from tunesmith.cli.main import main
from tunesmith.core.errors import DatasetError, EvaluationError
from tunesmith.core.files import MANIFEST
from tunesmith.core.records import Document, read_jsonl
from tunesmith.eval.evidence_checks import check_evidence
from tunesmith.eval.probes import TAUGHT, taught_of
from tunesmith.eval.results import Evidence, FoldRows, read_evidence
from tunesmith.pipeline import cross_fitting
from tunesmith.pipeline.cross_fitting import cross_fit
from tunesmith.pipeline.judging import gathered
from tunesmith.pipeline.looks import Looks
from tunesmith.pipeline.outcome import Outcome
from tunesmith.pipeline.project import Project
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.verifying import verify_verdict

SETTINGS: dict[str, Any] = {
    "build": {"passage_words": 40},
    "split": {"val": 0.2},
    "method": {"rank": 4, "alpha": 8.0},
    "train": {"max_steps": 4, "evaluate_every": 2, "learning_rate": 0.01, "batch_examples": 4, "precision": "float32"},
    "use": {"temperature": 0.0},
    "eval": {"max_new_tokens": 4, "draws": 300, "suites": [], "baselines": []},
}
FOLDS, POSTS = 2, 8


def project(base: Path, posts: Path, root: Path, *overrides: str) -> Project:
    return Project(recipe_from({"base": str(base), "sources": [str(posts)], **SETTINGS}, overrides), root)


def made(root: Path) -> dict[str, int]:
    return {str(p.parent.relative_to(root)): p.stat().st_mtime_ns for p in root.rglob(MANIFEST) if "work" not in p.parts}


@pytest.fixture(scope="module")
def few_posts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_posts(tmp_path_factory.mktemp("few") / "posts", POSTS)


@pytest.fixture(scope="module")
def half(tiny_path: Path, few_posts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A project whose cross-fit was interrupted at the second fold, and what it had made by then."""
    place = tmp_path_factory.mktemp("crossfit")

    def interrupted(one: Project) -> Evidence:
        if one.recipe.split.fold == 2:
            raise KeyboardInterrupt
        return gathered(one)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cross_fitting, "gathered", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cross_fit(project(tiny_path, few_posts, place), folds=FOLDS)
    return place, made(place)


@pytest.fixture(scope="module")
def outcome(tiny_path: Path, few_posts: Path, half: tuple[Path, dict[str, int]]) -> Outcome:
    """The same cross-fit, continued to its end."""
    return cross_fit(project(tiny_path, few_posts, half[0]), folds=FOLDS)


@pytest.fixture(scope="module")
def root(half: tuple[Path, dict[str, int]], outcome: Outcome) -> Path:
    assert outcome.evaluation.path.is_relative_to(half[0])
    return half[0]


@pytest.fixture
def evidence(root: Path) -> Evidence:
    return read_evidence(next((root / ".tunesmith" / "crossfits").glob("*/evidence.json")))


def test_every_document_is_tested_once_by_an_adapter_that_did_not_see_it(root: Path, evidence: Evidence) -> None:
    recipe = evidence.recipe
    assert recipe is not None and len(recipe.folds) == FOLDS == recipe.num_adapters
    documents = read_jsonl(next((root / ".tunesmith" / "documents").glob("*/documents.jsonl")), Document)
    group_of = {item.id: item.group for item in evidence.items}
    tested = [{group_of[id] for id in fold.items} for fold in recipe.folds]
    assert sorted(group for groups in tested for group in groups) == sorted(document.id for document in documents)
    for groups, fold in zip(tested, recipe.folds, strict=True):
        assert groups == set(fold.tested) and groups.isdisjoint(fold.learned) and len(fold.learned) + len(groups) == POSTS
        references = {item.reference for item in evidence.items if item.id in fold.items}
        assert fold.train_answers and references.isdisjoint(fold.train_answers)
    assert len({taught_of(row.item_id).document for row in evidence.probes[TAUGHT]["base"]}) > 2  # training rows were asked


def test_an_adapter_that_was_judged_on_a_document_it_saw_is_refused(evidence: Evidence) -> None:
    recipe = evidence.recipe
    assert recipe is not None
    check_evidence(evidence)
    first = replace(recipe.folds[0], learned=(*recipe.folds[0].learned, recipe.folds[0].tested[-1]))
    with pytest.raises(EvaluationError, match="trained on"):
        check_evidence(replace(evidence, recipe=replace(recipe, folds=(first, *recipe.folds[1:]))))
    twice: tuple[FoldRows, ...] = (*recipe.folds, recipe.folds[0])
    with pytest.raises(EvaluationError, match="twice"):
        check_evidence(replace(evidence, recipe=replace(recipe, folds=twice)))


def test_the_verdict_says_that_it_is_about_the_recipe_and_verifies(outcome: Outcome) -> None:
    assert (
        f"verdict about the recipe: {FOLDS} adapters, each judged on documents that it did not see" in outcome.verdict.sentence
    )
    assert outcome.measurements.num_documents == POSTS
    assert {gate.name: gate.state for gate in outcome.verdict.gates}["parity"] == "pass"
    file = outcome.evaluation.path / "verdict.json"
    held = file.read_text()
    assert verify_verdict(outcome.evaluation).holds
    try:
        file.write_text(held.replace(f"recipe: {FOLDS}", "recipe: 9"))
        assert "verdict.json" in verify_verdict(outcome.evaluation).different
    finally:
        file.write_text(held)


def test_what_was_interrupted_goes_on_and_makes_nothing_twice(half: tuple[Path, dict[str, int]], outcome: Outcome) -> None:
    place, before = half
    after = made(place)
    assert before.items() <= after.items()
    assert outcome.evaluation.path.is_relative_to(place)
    assert sorted(Path(path).parts[1] for path in after.keys() - before.keys()) == ["crossfits", "folds"]


def test_the_command_finds_all_of_it_made_and_prints_the_verdict_of_the_recipe(
    tiny_path: Path, few_posts: Path, root: Path, outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    before = made(root)
    recipe = root / "tunesmith.yaml"
    recipe.write_text(json.dumps({"base": str(tiny_path), "sources": [str(few_posts)], **SETTINGS}))
    with pytest.raises(SystemExit) as ended:
        main(["crossfit", "--project", str(root), "--folds", str(FOLDS), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert ended.value.code == said["exit_code"] == outcome.verdict.exit_code
    assert said["sentence"] == outcome.verdict.sentence and Path(said["report"]).is_file()
    assert made(root) == before


def test_a_cross_fit_is_one_evaluation_of_its_documents(root: Path, evidence: Evidence) -> None:
    lines = (root / ".tunesmith" / "looks.jsonl").read_text().splitlines()
    assert len(lines) == 2 and '"event":"plan"' in lines[0] and '"number":1' in lines[1]
    later = Looks(root / ".tunesmith").find(what={"models": ["another"]}, rules={}, documents=[evidence.items[0].group])
    assert later.number == 2


def test_no_adapter_of_a_fold_becomes_the_latest(root: Path) -> None:
    latest = {path.parent.name for path in (root / ".tunesmith").glob("*/latest")}
    assert latest == {"crossfits", "documents"}


def test_a_recipe_that_does_not_help_does_not_ship_and_every_seed_is_told(
    tiny_path: Path, few_posts: Path, tmp_path: Path
) -> None:
    changes = ("train.learning_rate=1e-9", "train.max_steps=2", "split.test=0.4", "gates.min_documents=2")
    outcome = cross_fit(project(tiny_path, few_posts, tmp_path, *changes), folds=1, seeds=2)
    better = next(gate for gate in outcome.verdict.gates if gate.name == "better")
    assert outcome.verdict.verdict != "SHIP" and better.state != "pass"
    assert "2 adapters, each judged" in outcome.verdict.sentence
    assert "Gain over the base by training seed: " in outcome.verdict.sentence


@pytest.mark.parametrize(("folds", "seeds"), [(1, 1), (0, 3), (30, 2)])
def test_one_adapter_or_far_too_many_are_refused(
    folds: int, seeds: int, tiny_path: Path, few_posts: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="several adapters"):
        cross_fit(project(tiny_path, few_posts, tmp_path), folds=folds, seeds=seeds)


def test_more_folds_than_documents_carry_are_refused_before_training(tiny_path: Path, few_posts: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="fewer folds"):
        cross_fit(project(tiny_path, few_posts, tmp_path), folds=5)
    assert not (tmp_path / ".tunesmith" / "runs").exists()
    with pytest.raises(DatasetError, match="latest days"):
        cross_fit(project(tiny_path, few_posts, tmp_path, "split.by=time"), folds=3)
