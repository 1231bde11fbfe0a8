"""Ollama: the Modelfile's template gives the token ids of the model's own, or there is none. No Ollama runs here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import TEMPLATE, conversation, make_tokenizer
from shared_paths import material
from tunesmith.core.errors import ModelError
from tunesmith.models.chat import Chat, open_chat
from tunesmith.ship.ollama.export import Serving, make_modelfile, parameters
from tunesmith.ship.ollama.go_render import render_go
from tunesmith.ship.ollama.go_write import go_text
from tunesmith.ship.ollama.modelfile import read_modelfile, write_modelfile
from tunesmith.ship.ollama.template import adds_bos, go_template, prompt_ids, prove

USE = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 0, "repetition_penalty": 1.1}
CHATML = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<turn>{{ m.role }}\n{{ m.content | trim }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)
SYSTEM_LAST = (  # as Mistral writes it
    "{{ bos_token }}{% set led = messages[0].role == 'system' %}{% for m in messages %}{% if m.role == 'user' %}[INST]"
    "{% if led and loop.last %}{{ messages[0].content }}\n\n{% endif %}{{ m.content }}[/INST]{% elif m.role == 'assistant' %}"
    "{{ m.content }}<|end|>{% endif %}{% endfor %}"
)
ODD = (
    '{% for m in messages %}<{{ m.role }}>{{ \'{{ """ { \\u00a0\\u200d } }}\' }}\t{{ m.content }}<|end|>\r\n{% endfor %}'
    "{% if add_generation_prompt %}<assistant>{\n{% endif %}"
)


def chat_of(template: str, folder: Path, **more: Any) -> Chat:
    special = ("<|im_start|>", "<|im_end|>", "<turn>", "[INST]", "[/INST]")
    ends = ("<|im_end|>",) if "im_end" in template else ("<|end|>",)
    return open_chat(make_tokenizer(folder / "base", template, special=special, ends=ends, **more))


@pytest.mark.parametrize("template", [TEMPLATE, CHATML, NO_SYSTEM, SYSTEM_LAST, ODD])
@pytest.mark.parametrize("bos", [False, True])
def test_a_template_in_go_gives_the_ids_of_the_models_own(template: str, bos: bool, tmp_path: Path) -> None:
    chat = chat_of(template, tmp_path)
    writes_bos = chat.render(conversation("a"), answer_next=True).startswith(chat.tokenizer.bos_token)
    if bos and not writes_bos:
        with pytest.raises(ModelError, match="beginning-of-text token in front and the model's own template does not"):
            go_template(chat, bos=True)
        return
    made = go_template(chat, bos=bos)
    assert made.num_checked == 30 and made.folded == (template == NO_SYSTEM)
    asked = conversation("One?", "Two.", "Three?", system="Short.") if not made.folded else conversation("Short.\n\nOne?")
    sent = asked if not made.folded else conversation("One?", system="Short.")
    assert prompt_ids(chat, render_go(made.text, sent), bos=bos) == chat.encode_prompt(asked)
    if writes_bos:
        assert prompt_ids(chat, render_go(made.text, sent), bos=bos).count(chat.tokenizer.bos_token_id) == 1


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("<|im_end|>\n", "<|im_end|>"),
        ("system\nBe kind.", "system\nBe  kind."),
        ("{{ $first = false }}", ""),
        ("assistant\n", "model\n"),
        ("{{ $.System }}", ""),
        ("{{ .Content }}", "{{ .Content }} "),
    ],
)
def test_a_template_with_a_fault_is_refused_and_the_first_other_text_is_shown(right: str, wrong: str, tmp_path: Path) -> None:
    chat = chat_of(CHATML, tmp_path)
    text = go_template(chat).text
    assert right in text
    with pytest.raises(ModelError, match="the token ids of the model's own template"):
        prove(chat, text.replace(right, wrong), folded=False, bos=False)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (CHATML.replace("{% for", "{{ messages | length }}{% for"), "depends on how many turns there are"),
        (CHATML.replace("{{ m.content }}", "{{ m.content }}{{ m.content }}"), "is in a prompt of 1 turns 2 times"),
        (CHATML.replace("in messages", "in messages | reverse"), "are in another order"),
        (CHATML.replace("{{ m.content }}", "{{ m.content | replace('2', 'two') }}"), "the token ids of the model's own"),
        (
            CHATML.replace("m.role != 'system'", "false").replace(
                "{% endfor %}", "{{ messages[0].content if loop.last }}{% endfor %}"
            ),
            "times",
        ),
    ],
)
def test_what_a_go_template_cannot_do_is_refused_with_the_reason(template: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=reason):
        go_template(chat_of(template, tmp_path))


def test_an_answer_left_over_from_a_cut_conversation_is_left_out_and_a_last_answer_is_continued(tmp_path: Path) -> None:
    text = go_template(chat_of(CHATML, tmp_path)).text
    turns = conversation("One?", "Two.", "Three?")
    assert render_go(text, turns[1:]) == render_go(text, turns[2:])
    assert render_go(text, turns[:2]).endswith("assistant\nTwo.")


@pytest.mark.parametrize(
    "action",
    ["{{- .System }}", "{{ .System -}}", "{{ .Tools }}", "{{ printf .System }}", "{{ $x }}", "{{ if .System }}", "{{ }}"],
)
def test_what_the_renderer_does_not_know_is_an_error_and_never_a_guess(action: str) -> None:
    with pytest.raises(ModelError, match="cannot be checked here"):
        render_go(action, conversation("a", system="b"))


@given(st.text())
def test_any_text_survives_go_and_the_modelfile(text: str) -> None:
    held = read_modelfile(write_modelfile([("FROM", "x"), ("TEMPLATE", "a" + go_text(text) + "z"), ("PARAMETER num_ctx", "8")]))
    assert [name for name, _ in held] == ["FROM", "TEMPLATE", "PARAMETER num_ctx"]
    assert render_go(held[1][1], ()) == f"a{text}z"


@given(st.text())
def test_a_value_is_read_back_as_it_was_or_refused(value: str) -> None:
    try:
        text = write_modelfile([("#", "a\nb"), ("SYSTEM", value), ("PARAMETER stop", "<|end|>")])
    except ModelError:
        assert any(not (c.isprintable() or c in "\n\t") for c in value) or '"""\n' in value or not value.strip("\n")
        return
    assert read_modelfile(text) == [("SYSTEM", value), ("PARAMETER stop", "<|end|>")]


def test_characters_that_ollama_would_drop_from_a_system_text_are_named() -> None:
    with pytest.raises(ModelError, match=r"U\+00A0, U\+200D"):
        write_modelfile([("SYSTEM", "dix\u00a0% 👩\u200d🔧")])


def test_the_modelfile_has_end_tokens_context_and_every_sampling_setting_of_use(tmp_path: Path) -> None:
    chat = chat_of(CHATML, tmp_path)
    serving = Serving(context=512, limit=256, generation=USE, system='Say "so".', licence="MIT\r\nx")
    made = make_modelfile(chat, serving, weights="./model.gguf", adapter="./a.gguf")
    held = read_modelfile(made.text)
    assert [name for name, _ in held[:4]] == ["FROM", "ADAPTER", "TEMPLATE", "SYSTEM"]
    assert held[0][1] == "./model.gguf" and held[3][1] == 'Say "so".' and held[-1] == ("LICENSE", "MIT\nx")
    found = {name.removeprefix("PARAMETER "): value for name, value in held[4:-1]}
    assert found == {
        "stop": "<|im_end|>", "num_ctx": "256", "temperature": "0.7", "top_k": "0", "top_p": "0.9", "min_p": "0",
        "repeat_penalty": "1.1", "repeat_last_n": "-1",
    }  # fmt: skip
    assert any("applies the temperature after" in note for note in made.notes) and f"# {made.notes[-1]}" in made.text


def test_greedy_use_writes_temperature_0_and_what_has_no_equal_is_listed() -> None:
    commands, notes = parameters(
        {"do_sample": False, "temperature": 0.7, "num_beams": 4, "no_repeat_ngram_size": 3, "top_h": None}
    )
    assert dict(commands)["PARAMETER temperature"] == "0" and dict(commands)["PARAMETER repeat_last_n"] == "0"
    assert notes == ("Without an equal in Ollama and left out: no_repeat_ngram_size 3, num_beams 4.",)
    assert dict(parameters({"do_sample": True})[0])["PARAMETER top_k"] == "50"


def test_a_tokenizer_that_adds_a_beginning_token_is_seen(tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    chat = chat_of(NO_SYSTEM, tmp_path)
    assert not adds_bos(chat)
    begin = chat.tokenizer.bos_token
    chat.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, chat.tokenizer.bos_token_id)]
    )
    assert adds_bos(chat)
    assert not go_template(chat).text.count(begin)


REFUSED = {  # templates of tool use that cannot render a plain conversation: they open no base at all
    "CohereForAI-c4ai-command-r-plus-tool_use",
    "MiroThinker",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
    "fireworks-ai-llama-3-firefunction-v2",
}
SOME = (
    "Qwen-Qwen2.5-7B-Instruct",
    "mistralai-Mistral-Nemo-Instruct-2407",
    "google-gemma-2-2b-it",
    "microsoft-Phi-3.5-mini-instruct",
)
TAGS = re.compile(r"<\|[^<>|\n ]{1,40}\|>|<｜[^｜\n]{1,40}｜>|</?[a-z_]{1,30}>|\[/?[A-Z_]{2,30}\]")


def published(file: Path, folder: Path) -> Chat:
    """A tokenizer under a published template, with the tags in it as control tokens."""
    text = file.read_text(encoding="utf-8")
    return open_chat(make_tokenizer(folder / file.stem, text, special=sorted(set(TAGS.findall(text)) - {"<|end|>"})))


@pytest.mark.parametrize("name", SOME)
def test_the_template_of_a_common_family_has_an_equal_in_go(name: str, tmp_path: Path) -> None:
    assert go_template(published(material("models/chat-templates") / f"{name}.jinja", tmp_path), bos=False).num_checked == 30


@pytest.mark.nightly
def test_fifty_of_the_published_templates_have_an_equal_in_go_and_five_cannot_be_used_at_all(tmp_path: Path) -> None:
    made, refused = set(), set()
    for file in sorted(material("models/chat-templates").glob("*.jinja")):
        try:
            made.add((file.stem, go_template(published(file, tmp_path), bos=False).num_checked))
        except ModelError as error:
            assert "cannot render a question and an answer" in str(error)
            refused.add(file.stem)
    assert refused == REFUSED
    assert len(made) == 50 and {checked for _, checked in made} == {30}
