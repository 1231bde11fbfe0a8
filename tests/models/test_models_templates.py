"""Published chat templates: the answer is found in each, or the template is refused; never a guess."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.load import find_base

FOLDER = Path(os.environ.get("TUNESMITH_SHARED", "../shared")) / "data/models/chat-templates"
TURNS = [
    Message(role="user", content="What is a hinge?"),
    Message(role="assistant", content="A patient thing."),
    Message(role="user", content="And a screw?"),
    Message(role="assistant", content="Honest, on the whole."),
]
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"published templates are not here: {FOLDER}")


def chat_with(name: str) -> Chat:
    """The embedded base's tokenizer under a published template."""
    chat = open_chat(find_base("apprentice"))
    chat.tokenizer.chat_template = (FOLDER / name).read_text(encoding="utf-8")
    chat.tokenizer.bos_token, chat.tokenizer.eos_token = "<s>", "</s>"
    return replace(chat, turn_end=None)


@pytest.mark.parametrize(
    "name",
    [
        "microsoft-Phi-3.5-mini-instruct.jinja",
        "Qwen-Qwen2.5-7B-Instruct.jinja",
        "Qwen-Qwen3-0.6B.jinja",
        "google-gemma-2-2b-it.jinja",
        "mistralai-Mistral-Nemo-Instruct-2407.jinja",
    ],
)
def test_both_answers_are_learned_and_no_question_is(name: str) -> None:
    if not (FOLDER / name).is_file():
        pytest.skip(f"not among the published templates here: {name}")
    chat = chat_with(name)
    learned = "".join(text for text, mark in chat.pieces(chat.encode(TURNS)) if mark)
    assert "A patient thing." in learned and "Honest, on the whole." in learned
    assert "hinge" not in learned and "screw" not in learned


def test_the_empty_thinking_block_of_qwen_3_is_not_among_the_words_that_are_scored() -> None:
    if not (FOLDER / "Qwen-Qwen3-0.6B.jinja").is_file():
        pytest.skip("not among the published templates here: Qwen-Qwen3-0.6B.jinja")
    chat = chat_with("Qwen-Qwen3-0.6B.jinja")
    assert "<think>" in "".join(text for text, mark in chat.pieces(chat.encode(TURNS)) if mark)
    assert "".join(text for text, mark in chat.pieces(chat.encode_answer(TURNS)) if mark) == "Honest, on the whole."


def test_a_template_that_asks_in_use_for_what_it_does_not_train_on_is_refused() -> None:
    chat = chat_with("deepseek-ai-DeepSeek-R1-Distill-Llama-8B.jinja")
    with pytest.raises(ModelError, match="hides where an answer begins"):
        chat.encode(TURNS[:2])


def test_a_system_text_opens_the_user_turn_where_the_template_has_no_system_role() -> None:
    chat = chat_with("google-gemma-2-2b-it.jinja")
    led = chat.with_system(TURNS[:1], "Be brief.")
    assert [m.role for m in led] == ["user"] and led[0].content == "Be brief.\n\nWhat is a hinge?"
