"""Stages are files: a new one needs no other file touched, and each reports what happened as events."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from fakes import Told
from tunesmith.api import Project
from tunesmith.api.events import EventLog
from tunesmith.api.pipeline import follow
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EvaluationError
from tunesmith.core.reporter import FindingReported, PlanMade, SeveralReporters, StageBegan, StageDone, VerdictReached
from tunesmith.pipeline import stages
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.stage import find_stage, kinds

TOY = """
from tunesmith.pipeline.stage import FilledStage, StageText

def _fill(project, draft):
    (draft.path / "count.txt").write_text(str(len(project.rows("train"))))
    draft.numbers["rows"] = len(project.rows("train"))

STAGE = FilledStage(
    kind="census",
    title="count",
    order=25,
    inputs=lambda project: [project.dataset.reference()],
    settings=lambda project: {},
    fill=_fill,
    words=lambda project, artifact: StageText(text=f"{artifact.numbers['rows']} rows"),
)
"""
SETTINGS: dict[str, Any] = {
    "build": {"passage_words": 40},
    "split": {"val": 0.2, "test": 0.3},
    "method": {"rank": 4, "alpha": 8.0},
    "train": {"max_steps": 2, "evaluate_every": 2, "batch_examples": 4, "precision": "float32"},
    "eval": {"max_new_tokens": 4, "draws": 300, "max_items": 6, "suites": []},
    "use": {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.1},
}


def project(base: Path, posts: Path, root: Path, reporter: Any = None) -> Project:
    return Project(recipe_from({"base": str(base), "sources": [str(posts)], **SETTINGS}), root, reporter=reporter)


def test_every_stage_is_a_file_named_by_the_kind_that_it_makes() -> None:
    assert set(kinds()) == {path.stem for path in Path(stages.__path__[0]).glob("[!_]*.py")}
    assert all(find_stage(kind).kind == kind for kind in kinds())


def test_a_suite_that_does_not_exist_is_reported_before_anything_is_read(tiny_path: Path, posts: Path, tmp_path: Path) -> None:
    recipe = {"base": str(tiny_path), "sources": [str(posts)], "eval": {"suites": ["genral"]}}
    made = Project(recipe_from(recipe), tmp_path)
    with pytest.raises(EvaluationError, match="no suite of this name") as caught:
        follow(made)
    assert "general" in str(caught.value) and not made.store.all()


def test_an_unknown_kind_is_named_with_those_that_there_are() -> None:
    with pytest.raises(KeyError, match=r"census.*dataset"):
        find_stage("census")


def test_a_stage_is_added_by_one_file(tiny_path: Path, posts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "stages"
    folder.mkdir()
    (folder / "census.py").write_text(TOY)
    monkeypatch.setattr(stages, "__path__", [*stages.__path__, str(folder)])
    told = Told()
    made = project(tiny_path, posts, tmp_path, told)
    found = made.artifact("census")
    monkeypatch.delitem(sys.modules, "tunesmith.pipeline.stages.census")
    assert (found.path / "count.txt").read_text() == str(len(made.rows("train")))
    assert found.path.parent.name == "census" and Store(tmp_path / ".tunesmith").resolve("census:latest").id == found.id
    last = told.events[-1]
    assert isinstance(last, StageDone) and (last.title, last.text) == ("count", f"{found.numbers['rows']} rows")


def test_a_pipeline_reports_every_stage_once_in_order_and_ends_with_the_verdict(
    tiny_path: Path, posts: Path, tmp_path: Path
) -> None:
    log, told = EventLog(), Told()
    made = project(tiny_path, posts, tmp_path, SeveralReporters(told, log))
    follow(made)
    done = [
        event.kind if isinstance(event, StageDone) else "plan"
        for event in log.events
        if isinstance(event, StageDone | PlanMade)
    ]
    assert done == ["documents", "dataset", "plan", "run", "use", "model", "eval"]
    began = [event.kind for event in log.events if isinstance(event, StageBegan)]
    assert began == [kind for kind in done if kind != "plan"] and told.events == log.events
    assert isinstance(log.events[-1], VerdictReached) and log.verdict.verdict == made.outcome.verdict.verdict
    assert log.done("dataset").path == str(made.dataset.path)
    orjson.dumps(log.as_dicts())
    found = [event for event in log.events if isinstance(event, FindingReported)]
    assert [(f.name, f.count) for f in found] == [(f["name"], f["count"]) for f in made.dataset.numbers["findings"]]


def test_what_is_not_done_yet_is_not_in_the_log() -> None:
    with pytest.raises(KeyError, match="run"):
        EventLog().done("run")
    with pytest.raises(KeyError, match="verdict"):
        _ = EventLog().verdict
