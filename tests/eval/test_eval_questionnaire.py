"""Advice before anything is measured: each rule of docs/concepts/advice.md, and no reason from what is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.eval.questionnaire import QUESTIONS, TaskAnswers, advise_by_rules, excluded_by

CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"citations": True}, "retrieve", "name their sources"),
    ({"changes": "monthly"}, "retrieve", "changes monthly"),
    ({"changes": "daily", "about": "style", "examples": 20}, "retrieve", "changes daily"),
    ({"about": "facts"}, "retrieve", "facts badly"),
    ({"about": "style", "examples": 100}, "tune", "enough to learn"),
    ({"about": "format", "examples": 5000, "changes": "rarely"}, "tune", "The format"),
    ({"fast": True, "examples": 300}, "tune", "must be fast"),
    ({"about": "style", "examples": 300, "citations": True}, "tune + retrieve", "name their sources"),
    ({"about": "skill"}, "bigger model", "comes with size"),
    ({"about": "skill", "private": True}, "prompt", "no text may leave"),
    ({"about": "skill", "paid": False}, "prompt", "no money"),
    ({"about": "style", "examples": 99}, "prompt", "99 examples are too few"),
    ({"about": "style"}, "prompt", "not known"),
    ({"examples": 100_000}, "prompt", "Nothing that you said"),
    ({"private": True}, "prompt", "Nothing that you said"),
]


@pytest.mark.parametrize(("answers", "advice", "reason"), CASES)
def test_each_rule_gives_its_advice_with_its_reason(answers: dict[str, Any], advice: str, reason: str) -> None:
    found, reasons = advise_by_rules(TaskAnswers(**answers))
    assert found == advice and any(reason in one for one in reasons)


ANSWERS = st.builds(
    TaskAnswers,
    examples=st.none() | st.integers(0, 10_000),
    changes=st.sampled_from([None, "rarely", "monthly", "daily"]),
    citations=st.sampled_from([None, True, False]),
    about=st.sampled_from([None, "style", "format", "facts", "skill"]),
    fast=st.sampled_from([None, True, False]),
    private=st.sampled_from([None, True, False]),
    paid=st.sampled_from([None, True, False]),
)


@given(ANSWERS)
def test_no_rule_advises_what_the_same_answers_rule_out(answers: TaskAnswers) -> None:
    advice, reasons = advise_by_rules(answers)
    assert advice not in excluded_by(answers) and reasons
    if answers.examples is None:
        assert "tune" not in advice


def test_nothing_known_asks_for_no_more_than_a_prompt() -> None:
    assert not TaskAnswers().given and TaskAnswers(paid=False).given
    assert advise_by_rules(TaskAnswers())[0] == "prompt" and excluded_by(TaskAnswers()) == {}


def test_the_page_names_every_question_and_every_advice() -> None:
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "advice.md").read_text(encoding="utf-8")
    assert not [name for name in QUESTIONS if f"--{name}" not in page and f"--no-{name}" not in page]
    assert set(QUESTIONS) == set(TaskAnswers.__dataclass_fields__)
    assert not [advice for _, advice, _ in CASES if advice not in page]
