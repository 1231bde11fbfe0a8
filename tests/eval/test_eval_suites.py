"""Promises of suites in an evaluation: base and tuned model answer them, each for itself, and no answer is made twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import conversation, example, examples
from tunesmith.core.reporter import SilentReporter
from tunesmith.eval.evaluate import Conditions, Measured, choose_items, evaluate
from tunesmith.eval.suites.run import run_suite
from tunesmith.eval.suites.suite import Suite, SuiteItem
from tunesmith.models.chat import Chat
from tunesmith.models.generate import answer
from tunesmith.models.load import BaseFolder, load_model

SUITE = Suite(
    name="sums",
    version="1",
    licence="Apache-2.0",
    items=tuple(
        SuiteItem(
            id=f"q{n}",
            messages=conversation(f"What is {n}?"),
            scorer="numeric",
            group=f"q{n}",
            references=("1",),
            max_new_tokens=4,
        )
        for n in range(3)
    ),
)


@pytest.fixture
def measured(tiny: BaseFolder, trained_adapter: Path, tmp_path: Path) -> list[Measured]:
    """Two evaluations that keep their answers in one folder."""
    conditions = Conditions(baselines=(), max_new_tokens=4, batch_examples=8, suites=(SUITE,), saved=tmp_path)
    given: dict[str, Any] = {"train": examples(4), "general": choose_items([example("What is rain?", "Water.", id="g")], 0)}
    return [
        evaluate(
            tiny,
            adapter=trained_adapter,
            merged=None,
            items=choose_items(examples(4), 0),
            conditions=conditions,
            reporter=SilentReporter(),
            **given,
        )
        for _ in range(2)
    ]


def test_base_and_tuned_model_answer_a_suite_once(measured: list[Measured], tiny: BaseFolder, tiny_chat: Chat) -> None:
    once, again = (one.suites[0].runs for one in measured)
    assert [run.system for run in once] == ["base", "tuned"] and [run.num_asked for run in once] == [3, 3]
    assert [run.num_asked for run in again] == [0, 0]
    assert [run.generations for run in again] == [run.generations for run in once]
    model = load_model(tiny, "float32")
    alone = run_suite(
        SUITE,
        lambda requests: answer(model, tiny_chat, requests, batch_examples=8, context=tiny.context),
        system="base",
        fingerprint="f",
    )
    texts = [[generation.text for generation in run.generations] for run in (alone, *once)]
    assert texts[0] == texts[1] != texts[2]  # the base answers without the adapter, the tuned model with it
