"""Promises of the base's own answers: only good ones are learned, none is made twice, and no question is one of a suite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tunesmith.api import Project
from tunesmith.core.records import Example, Message
from tunesmith.core.reporter import SilentReporter
from tunesmith.eval.suites.contamination import contamination
from tunesmith.eval.suites.load import load_suite
from tunesmith.models.chat import open_chat
from tunesmith.models.generation.requests import Completion, Request
from tunesmith.models.load import BaseFolder
from tunesmith.pipeline import own_answers as module
from tunesmith.pipeline.own_answers import QUESTIONS, own_answers
from tunesmith.pipeline.recipe_file import recipe_from
from tunesmith.pipeline.stages.run import general_answers

ODD = {1: ("It goes round. " * 30, "stop"), 2: ("", "stop"), 3: ("This one was cut in", "length")}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many answers were asked for, each time; the second to fourth are no examples."""
    seen: list[int] = []

    def answered(model: Any, chat: Any, requests: Sequence[Request], **more: Any) -> list[Completion]:
        seen.append(len(requests))
        said = [ODD.get(n, (f"A short answer, number {n}.", "stop")) for n in range(len(requests))]
        return [Completion(text, reason, 5) for text, reason in said]  # type: ignore[arg-type]

    monkeypatch.setattr(module, "answer", answered)
    return seen


def test_answers_that_loop_are_empty_or_were_cut_are_left_out_and_none_is_made_twice(
    tiny: BaseFolder, tmp_path: Path, asked: list[int]
) -> None:
    chat = open_chat(tiny)
    rows = own_answers(tiny, chat, tmp_path, reporter=SilentReporter())
    assert len(rows) == asked[0] - len(ODD) and not {text for text, _ in ODD.values()} & {row.answer for row in rows}
    assert all(row.origin is not None and row.origin.generated == "answer" for row in rows)
    assert own_answers(tiny, chat, tmp_path, reporter=SilentReporter()) == rows and len(asked) == 1


def test_no_question_is_one_of_the_suite_that_judges_general_skills() -> None:
    questions = QUESTIONS.read_text(encoding="utf-8").split("\n")[:-1]
    rows = [
        Example(
            id=str(number),
            messages=(Message(role="user", content=question), Message(role="assistant", content="Yes.")),
            document_id="own",
            group="own",
            source="own",
        )
        for number, question in enumerate(questions)
    ]
    assert len(questions) == len(set(questions)) >= 60
    assert contamination(load_suite("general"), rows, encoder=None).matches == ()


def test_own_answers_are_mixed_into_training_alone_and_never_shown_as_the_author_s(
    tiny_path: Path, posts: Path, tmp_path: Path, asked: list[int]
) -> None:
    recipe = recipe_from(
        {"base": str(tiny_path), "sources": [str(posts)]}, ["mix.own_answers=true", "mix.share=0.3", "split.test=0.3"]
    )
    made = Project(recipe, tmp_path)
    own = [row for row in made.rows("train") if row.origin and row.origin.kind == "own_answers"]
    assert own and asked and not [row for name in ("val", "test") for row in made.rows(name) if row.origin]
    assert not [row for row in made.authors_rows(made.rows("train")) if row.origin]


def test_weights_are_held_by_the_answers_of_the_base_of_the_run(
    tiny_path: Path, posts: Path, tmp_path: Path, asked: list[int]
) -> None:
    recipe = recipe_from({"base": str(tiny_path), "sources": [str(posts)]}, ["train.ewc=0"])
    assert general_answers(Project(recipe, tmp_path / "free")) == {} and not asked
    held = recipe_from({"base": str(tiny_path), "sources": [str(posts)]}, ["train.ewc=2"])
    assert len(general_answers(Project(held, tmp_path / "held"))["general"]) == asked[0] - len(ODD)
