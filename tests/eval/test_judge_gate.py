"""The gate `judge`: it decides only by a judge that people confirmed, and never by what the judge alone says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from evidence_fakes import evidence, general, parity, served
from fake_llm import fake_llm, good
from judged_pairs import write_rows
from judging_fakes import GOOD, decided, gate

from tunesmith.core.records import Message
from tunesmith.core.reporter import SilentReporter
from tunesmith.eval.files import write_evaluation
from tunesmith.eval.judge.evidence import JudgedAnswers
from tunesmith.eval.judge.rows import JudgedPair, Label
from tunesmith.eval.measure import measure
from tunesmith.eval.results import Evidence, read_evidence
from tunesmith.pipeline.judged_answers import judge_answers, judge_settings
from tunesmith.pipeline.sections.eval import JudgeConfig

MADE = evidence(GOOD, documents=60, each=1, with_parity=parity(), with_general=general(), with_served=served())


def with_judge(*, wins: int, labels: int = 60, honest: bool = True, faults: tuple[str, ...] = ()) -> Evidence:
    """Of ten items, people prefer the tuned model on `wins`, in an order of their own; the first `labels` are labelled. A judge
    that is not honest prefers the tuned model always."""
    pairs = []
    for number, item in enumerate(MADE.items):
        truth: Label = "A" if (number * 7) % 10 < wins else "B"
        verdict: Label = truth if honest else "A"
        pairs.append(
            JudgedPair(
                id=item.id,
                prompt=f"Question {number}?",
                a=f"tuned {number}",
                b=f"base {number}",
                human=truth if number < labels else None,
                judge=verdict,
                judge_swapped=verdict,
                has_judge=True,
                has_swapped=True,
                group=item.group,
                system_a="tuned",
                system_b="base",
            )
        )
    return replace(MADE, judged=JudgedAnswers(name="fake-1", id="x", weak=False, pairs=tuple(pairs), faults=faults))


def test_without_a_judge_there_is_no_such_gate() -> None:
    assert "judge" not in [one.name for one in decided(MADE).gates]


def test_a_confirmed_judge_decides_and_agrees() -> None:
    verdict = decided(with_judge(wins=8))
    assert gate(verdict, "judge").state == "pass" and gate(verdict, "judge").required and verdict.verdict == "SHIP"


def test_a_confirmed_judge_stops_what_likelihood_would_ship() -> None:
    verdict = decided(with_judge(wins=1))
    assert (gate(verdict, "judge").state, verdict.verdict) == ("fail", "DON'T SHIP")
    assert "People would prefer the base's answers." in verdict.sentence


def test_an_even_result_is_not_known() -> None:
    verdict = decided(with_judge(wins=5))
    assert gate(verdict, "judge").state == "not measured" and verdict.verdict == "CAN'T TELL"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (with_judge(wins=1, labels=0), "no labels of people were given"),
        (with_judge(wins=1, labels=12), "at least 20 are needed"),
        (with_judge(wins=1, honest=False), "the lower end of κ"),
        (with_judge(wins=1, faults=("the model behind the address changed under way: a, b",)), "changed under way"),
    ],
)
def test_a_judge_that_is_not_confirmed_decides_nothing(made: Evidence, said: str) -> None:
    verdict = decided(made)
    found = gate(verdict, "judge")
    assert found.state == "not measured" and not found.required and said in found.evidence and verdict.verdict == "SHIP"


def test_the_page_shows_people_judge_and_likelihood_and_never_the_judge_alone(tmp_path: Path) -> None:
    for name, made in (("labelled", with_judge(wins=6)), ("alone", with_judge(wins=6, labels=0, honest=False))):
        folder = tmp_path / name
        folder.mkdir()
        write_evaluation(folder, made, measure(made, draws=500), decided(made))
        assert read_evidence(folder / "evidence.json") == made
    page = (tmp_path / "labelled" / "report.html").read_text()
    assert "People, judge and likelihood" in page and "the judge (or people) disagree on 24." in page
    assert "The judge alone says" in page and "60 labels correct it" in page
    alone = (tmp_path / "alone" / "report.html").read_text()
    assert "not measured: 0 labelled pairs of tuned and base" in alone and "The judge alone says" not in alone
    assert "not shown without labels" in alone and "disagree on" not in alone


def test_answers_are_judged_with_labels_wherever_they_stand(tmp_path: Path) -> None:
    """Two labels of these answers, one of them with the sides exchanged, and one of other answers."""
    items = [replace(item, prompt=(Message(role="user", content=f"Question {n}?"),)) for n, item in enumerate(MADE.items)]
    systems = [
        replace(run, generations=tuple(replace(one, text=f"{run.name}: {one.text}") for one in run.generations))
        for run in MADE.systems
    ]
    texts = {run.name: {one.item_id: one.text for one in reversed(run.generations)} for run in systems}
    rows = []
    for number, item in enumerate(items[:2]):
        sides = [texts["tuned"][item.id], texts["base"][item.id]]
        a, b = sides if number else sides[::-1]
        rows.append({"id": f"l{number}", "prompt": item.question, "a": a, "b": b, "human": "B"})
    file = write_rows(tmp_path / "labels.jsonl", [*rows, {"id": "o", "prompt": "Else?", "a": "x", "b": "yy", "human": "B"}])
    with fake_llm(good) as server:
        judge = JudgeConfig(url=server.url, model="fake-1", calibration=str(file), again=0)
        found = judge_answers(judge, items, systems, tmp_path, reporter=SilentReporter())
        assert found is not None and len(server.asked) <= 2 * (len(MADE.items) + 1)
    assert len(found.pairs) == len(MADE.items) and [one.human for one in found.pairs[:3]] == ["A", "B", None]
    assert [one.human for one in found.labels] == ["B"] and found.labels[0].judge == "B"
    assert all(pair.reference for pair in found.pairs) and found.pairs[0].system_a == "tuned"


def test_the_evaluation_depends_on_the_judge_and_its_labels_and_on_nothing_where_there_is_none(tmp_path: Path) -> None:
    assert judge_settings(JudgeConfig()) == {}
    file = tmp_path / "labels.jsonl"
    file.write_text("a")
    one = JudgeConfig(url="http://127.0.0.1:9/v1", model="m", calibration=str(file))
    before = orjson.dumps(judge_settings(one))
    assert judge_settings(one.model_copy(update={"concurrency": 9, "api_key_env": "K"})) == judge_settings(one)
    file.write_text("b")
    assert orjson.dumps(judge_settings(one)) != before and b"K" not in before
