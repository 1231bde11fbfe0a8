"""Published chat templates: the answer is found in each, or the template is refused; never a guess."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fakes import conversation, make_tokenizer
from tunesmith.core.errors import ModelError
from tunesmith.models.chat import Chat, open_chat

FOLDER = Path(os.environ.get("TUNESMITH_SHARED", "../shared")) / "data/models/chat-templates"
TURNS = conversation("What is a hinge?", "A patient thing.", "And a screw?", "Honest, on the whole.")
ANSWERS = ("A patient thing.", "Honest, on the whole.")
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"published templates are not here: {FOLDER}")

ENDS = {  # name of the template → the tokens that its base declares as ends of an answer
    "Apertus-8B-Instruct": ("<|assistant_end|>",),
    "Apriel-1.6-15b-Thinker-fixed": ("<|end|>",),
    "Cohere2MoE": ("<|END_OF_TURN_TOKEN|>",),
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": ("<|END_OF_TURN_TOKEN|>",),
    "GLM-4.6": ("<|endoftext|>", "<|user|>", "<|observation|>"),
    "GLM-5.2": ("<|endoftext|>", "<|user|>", "<|observation|>"),
    "HuggingFaceTB-SmolLM3-3B": ("<|im_end|>",),
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": ("<|im_end|>",),
    "Qwen-QwQ-32B": ("<|im_end|>",),
    "Qwen-Qwen2.5-7B-Instruct": ("<|im_end|>",),
    "Qwen-Qwen3-0.6B": ("<|im_end|>",),
    "Qwen3.5-4B": ("<|im_end|>",),
    "StepFun3.5-Flash": ("<|im_end|>",),
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": ("<｜end▁of▁sentence｜>",),
    "deepseek-ai-DeepSeek-V3.2": ("<｜end▁of▁sentence｜>",),
    "google-gemma-2-2b-it": ("<end_of_turn>",),
    "google-gemma-4-31B-it": ("<turn|>",),
    "ibm-granite-granite-3.3-2B-Instruct": ("<|end_of_text|>",),
    "meta-llama-Llama-3.2-3B-Instruct": ("<|eot_id|>",),
    "microsoft-Phi-3.5-mini-instruct": ("<|end|>",),
    "mistralai-Mistral-Nemo-Instruct-2407": ("</s>",),
    "openai-gpt-oss-120b": ("<|return|>", "<|call|>"),
}
FURTHER = ("<|END_RESPONSE|>", "<|START_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>")  # control tokens around words


def chat_with(name: str, folder: Path) -> Chat:
    """A tokenizer under a published template, with the tokens that its base declares as ends."""
    file = FOLDER / f"{name}.jinja"
    if not file.is_file():
        pytest.skip(f"not among the published templates here: {file.name}")
    ends = ENDS[name]
    return open_chat(make_tokenizer(folder / "base", file.read_text(encoding="utf-8"), special=(*ends, *FURTHER), ends=ends))


@pytest.mark.parametrize("name", ENDS)
def test_both_answers_are_learned_with_their_end_after_the_prompt_of_use_and_no_question_is(name: str, tmp_path: Path) -> None:
    chat = chat_with(name, tmp_path)
    rows = chat.rows(TURNS)
    texts = [text for row in rows for text, mark in chat.pieces(row) if mark]
    assert len(texts) == 2 and all(words in text for words, text in zip(ANSWERS, texts, strict=True))
    assert all(text.endswith(ENDS[name]) for text in texts)
    assert not any("hinge" in text or "screw" in text for text in texts)
    for turn in (1, 3):
        prompt = tuple(chat.encode_prompt(TURNS[:turn]))
        assert any(row.ids[: len(prompt)] == prompt for row in rows)


@pytest.mark.parametrize("name", ENDS)
def test_the_words_of_the_last_answer_and_its_end_are_all_that_is_scored(name: str, tmp_path: Path) -> None:
    chat = chat_with(name, tmp_path)
    led = chat.with_system(TURNS[:3], "Speak as they do.")
    for asked in (TURNS[:3], led):
        row = chat.encode_answer([*asked, TURNS[3]])
        scored = "".join(text for text, mark in chat.pieces(row) if mark)
        assert scored.strip().startswith(ANSWERS[1]) and scored.strip().removeprefix(ANSWERS[1]) in ENDS[name]
    assert "Speak as they do." in "".join(text for text, _ in chat.pieces(row))


def test_a_system_text_opens_the_user_turn_where_the_template_has_no_role_for_it_or_loses_it(tmp_path: Path) -> None:
    for name in ("google-gemma-2-2b-it", "mistralai-Mistral-Nemo-Instruct-2407"):
        led = chat_with(name, tmp_path / name).with_system(TURNS[:1], "Be brief.")
        assert [m.role for m in led] == ["user"] and led[0].content == "Be brief.\n\nWhat is a hinge?"


def test_a_template_that_wants_more_than_messages_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    file = FOLDER / "fireworks-ai-llama-3-firefunction-v2.jinja"
    with pytest.raises(ModelError, match="cannot render a question and an answer"):
        open_chat(make_tokenizer(tmp_path / "base", file.read_text(encoding="utf-8")))
