"""A recipe's template options have one meaning in every stage, and what a template cannot do is found before training."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from fakes import TEMPLATE, conversation, make_base, make_tokenizer
from tunesmith.api import Project
from tunesmith.core.errors import EvaluationError, ModelError
from tunesmith.eval.rehearsal import rehearse
from tunesmith.eval.results import Item
from tunesmith.models.chat import open_chat
from tunesmith.pipeline.recipe_file import recipe_from

SETTINGS: dict[str, Any] = {
    "build": {"passage_words": 40},
    "split": {"val": 0.2, "test": 0.3},
    "method": {"rank": 4, "alpha": 8.0},
    "train": {"max_steps": 2, "evaluate_every": 1, "batch_examples": 4, "precision": "float32"},
    "eval": {"max_new_tokens": 4, "draws": 300, "suites": []},
}
DATED = "{{ 'Today: ' + strftime_now('%Y-%m-%d') + '\n' }}"
BLOCK = "{% if not enable_thinking %}{{ '[none]\n' }}{% endif %}"
THINKING = DATED + TEMPLATE.replace("{{ '<|assistant|>\n' }}", "{{ '<|assistant|>\n' }}" + BLOCK)
MOVING = (  # as Mistral's: the system text stands in the last question while the conversation ends with it
    "{% set ns = namespace(told='') %}{% if messages[0].role == 'system' %}{% set ns.told = messages[0].content + '\n\n' %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ '<|user|>' + (ns.told if loop.last else '') + m.content + '<|assistant|>' }}"
    "{% else %}{{ m.content + '<|end|>' }}{% endif %}{% endfor %}"
)


def project(template: str, posts: Path, root: Path, *overrides: str) -> Project:
    base = root / "base"
    if not base.is_dir():
        make_base(base, template=template)
    return Project(recipe_from({"base": str(base), "sources": [str(posts)], **SETTINGS}, overrides), root)


@pytest.mark.parametrize("system", ["", "Answer as the author does."])
def test_a_template_that_moves_the_system_text_runs_to_a_verdict_with_the_prompted_base(
    system: str, posts: Path, tmp_path: Path
) -> None:
    outcome = project(MOVING, posts, tmp_path, f"build.system_prompt={system}").outcome
    assert "prompted" in outcome.measurements.systems
    assert outcome.measurements.systems["tuned"].answers.ended.share is not None


def test_options_are_kept_with_the_run_and_give_chat_the_prompt_of_training(posts: Path, tmp_path: Path) -> None:
    made = project(THINKING, posts, tmp_path, "template.date=2026-11-28")
    kept = made.run.manifest["settings"]["template"]
    assert kept == made.dataset.manifest["settings"]["template"] == {"enable_thinking": False, "date": "2026-11-28"}
    asked = made.rows("train")[0].prompt
    prompt = open_chat(made.base, kept).encode_prompt(asked)
    text = made.chat.render(asked, answer_next=True)
    assert prompt == made.chat.encode_prompt(asked) and text.startswith("Today: 2026-11-28\n") and text.endswith("[none]\n")
    (row,) = made.chat.rows(made.rows("train")[0].messages)
    assert list(row.ids[: len(prompt)]) == prompt and not any(row.learned[: len(prompt)])


def test_a_run_that_is_continued_on_another_day_is_the_same_run(
    posts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tomorrow(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Tomorrow:
            return cls(2031, 5, 6, tzinfo=tz)

    before = project(THINKING, posts, tmp_path).dataset.id
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Tomorrow)
    after = project(THINKING, posts, tmp_path)
    assert after.dataset.id == before
    assert "2031" not in after.chat.render(after.rows("train")[0].messages)
    assert project(THINKING, posts, tmp_path, "template.date=2031-05-06").dataset.id != before


def test_an_option_without_effect_stops_a_build_before_anything_is_read(posts: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"does not read template\.tone"):
        _ = project(TEMPLATE, posts, tmp_path, "template.tone=mild").dataset
    assert not (tmp_path / ".tunesmith" / "datasets").exists()


@pytest.mark.parametrize("stage", ["plan", "run"])
def test_test_items_that_the_template_rewrites_are_found_before_training(stage: str, posts: Path, tmp_path: Path) -> None:
    rewriting = TEMPLATE.replace("message['content']", "message['content'] | replace('e', 'E')")
    made = project(rewriting, posts, tmp_path, "allow=[rewritten]")
    assert made.dataset.numbers["train"]
    with pytest.raises(EvaluationError, match="no test item can be scored"):
        getattr(made, stage)
    assert not list(tmp_path.glob(".tunesmith/runs/*/*"))


def test_general_texts_that_do_not_fit_are_found_before_training(tmp_path: Path) -> None:
    chat = open_chat(make_tokenizer(tmp_path / "base", TEMPLATE))
    short, long = (
        Item(id=words[:5], group="g", title="", prompt=conversation("What?"), reference=words)
        for words in ("So.", "So it goes. " * 40)
    )
    rest: dict[str, Any] = {"train": [], "context": 100, "room": 8, "baselines": ()}
    assert rehearse(chat, [short, long], general=[short], **rest) == 1
    with pytest.raises(EvaluationError, match="longer than the context"):
        rehearse(chat, [short], general=[long], **rest)
