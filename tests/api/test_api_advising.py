"""`advise` in a project: from its newest evaluation, by rules before there is one, or asked in a terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from evidence_fakes import evidence

import tunesmith
from tunesmith.cli.main import main
from tunesmith.cli.verbs import advise as verb
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import ArtifactError, EvaluationError
from tunesmith.eval.files import write_evaluation
from tunesmith.eval.measure import measure
from tunesmith.eval.results import Evidence
from tunesmith.eval.verdict import decide
from tunesmith.pipeline.sections.eval import EvalConfig, GateConfig


def evaluated(project: Path, found: Evidence, *, note: str = "") -> Path:
    """An evaluation in the project, as the stage leaves it."""
    settings = {"eval": EvalConfig(draws=500).model_dump(), "gates": GateConfig().model_dump(), "note": note}
    measurements = measure(found, draws=500)

    made = Store(project / ".tunesmith").obtain(
        "eval",
        [],
        settings,
        lambda draft: write_evaluation(draft.path, found, measurements, decide(measurements, GateConfig())),
    )
    return made.path


def ladder(**bits: float) -> Evidence:
    return evidence({"base": 2.2, "prompted": 2.1, "tuned": 1.8, **bits}, documents=12, noise=0.01)


def test_the_newest_evaluation_gives_the_advice(tmp_path: Path) -> None:
    evaluated(tmp_path, ladder(retrieval=1.8), note="older")
    evaluated(tmp_path, ladder(retrieval=1.5), note="newer")
    found = tunesmith.advise(project=tmp_path)
    assert (found.advice, found.system, found.measured, found.sure, found.exit_code) == ("retrieve", "retrieval", True, True, 0)
    assert [one["name"] for one in found.systems] == ["base", "prompted", "retrieval", "tuned"]
    assert found.evaluation and tunesmith.artifact(found.evaluation, project=tmp_path).kind == "eval"


def test_answers_only_rule_out_what_was_measured(tmp_path: Path) -> None:
    evaluated(tmp_path, ladder(tuned_retrieval=1.7))
    assert tunesmith.advise(project=tmp_path).advice == "tune + retrieve"
    kept = tunesmith.advise(project=tmp_path, answers=tunesmith.TaskAnswers(examples=3, about="skill"))
    assert kept.advice == "tune + retrieve"  # rules do not overrule a measurement
    assert tunesmith.advise(project=tmp_path, margin=0.5).advice == "prompt"


def test_an_open_measurement_exits_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluated(tmp_path, evidence({"base": 2.2, "tuned": 1.8}, documents=4))
    with pytest.raises(SystemExit) as ended:
        main(["advise", "--project", str(tmp_path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 3 and told["advice"] is None and "too few" in told["reasons"][0]


def test_a_damaged_evaluation_is_no_reason_to_fall_back_on_rules(tmp_path: Path) -> None:
    with (evaluated(tmp_path, ladder()) / "evidence.json").open("ab") as file:
        file.write(b" ")
    with pytest.raises(ArtifactError, match="damaged"):
        tunesmith.advise(project=tmp_path, answers=tunesmith.TaskAnswers(citations=True))


def test_without_measurement_and_answers_the_error_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="nothing to advise from") as caught:
        tunesmith.advise(project=tmp_path)
    assert "tunesmith advise --examples" in caught.value.problems[0].hint


def test_advice_by_rules_says_that_nothing_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["advise", "--project", str(tmp_path), "--about", "facts"])
    told = capsys.readouterr()
    assert "retrieve  (by rules, before anything is measured)" in told.err and "Measure before you decide" in told.err


def test_the_table_shows_every_alternative_against_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluated(tmp_path, ladder(retrieval=1.8))
    main(["advise", "--project", str(tmp_path)])
    told = capsys.readouterr()
    assert told.err.startswith("retrieve\n") and "not measured: base with examples" in told.err
    assert "prompted" in told.out and "worse" in told.out and "best" in told.out


def test_in_a_terminal_the_questions_are_asked_until_they_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = iter(["many", "1,200", "", "n", "Style", "", "perhaps", "yes", ""])
    monkeypatch.setattr(typer, "prompt", lambda question, **more: next(typed))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    main(["advise", "--project", str(tmp_path), "--json"])
    told = capsys.readouterr()
    assert json.loads(told.out)["advice"] == "tune" and told.err.count("not understood") == 2
    assert next(typed, None) is None


def test_the_words_of_the_command_are_those_of_the_questions() -> None:
    from tunesmith.eval.questionnaire import About, Changes

    assert {one.value for one in verb.About} == set(About.__args__)  # type: ignore[attr-defined]
    assert {one.value for one in verb.Changes} == set(Changes.__args__)  # type: ignore[attr-defined]


def test_evidence_from_before_costs_were_kept_is_advised_from(tmp_path: Path) -> None:
    old = ladder()
    evaluated(tmp_path, replace(old, systems=tuple(replace(run, cost=None) for run in old.systems)))
    assert tunesmith.advise(project=tmp_path).advice == "tune"
