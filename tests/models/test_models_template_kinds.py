"""Kinds of chat templates, each by a small template with the same trait: every answer is learned right after the prompt of use.

The names say which published families have the trait.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import TEMPLATE, conversation, example, make_tokenizer
from tunesmith.core.errors import ModelError
from tunesmith.core.records import Example
from tunesmith.models.audit import audit
from tunesmith.models.chat import Chat, Encoded, open_chat
from tunesmith.models.generation.text import Ending, Spoken

SPECIAL = ("<think>", "</think>", "<|channel|>", "<|message|>", "<|return|>", "<|say|>", "<|said|>", "<|over|>")
USER = "{% if m.role != 'assistant' %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% else %}"
LAST = "{% if loop.last %}"


def template(finished: str, asked: str) -> str:
    """Questions in the usual way; `finished`: how an answer is written, `asked`: how one is asked for."""
    return loop(finished) + "{% if add_generation_prompt %}" + asked + "{% endif %}"


def loop(finished: str) -> str:
    return "{% for m in messages %}" + USER + finished + "{% endif %}{% endfor %}"


@dataclass(frozen=True)
class Kind:
    """A template; `ends` are declared by the base. `before` and `after`: what is learned around the words of an answer."""

    template: str
    before: str = ""
    after: str = "<|end|>"
    rows_of_two: int = 1
    ends: tuple[str, ...] = ("<|end|>",)


BLOCK = "<think>\n\n</think>\n\n"
PLAIN = "{{ '<|assistant|>\n' + m.content + '<|end|>\n' }}"
SWITCHED = "{{ '<|assistant|>\n' }}{% if enable_thinking is defined and not enable_thinking %}{{ '" + BLOCK + "' }}{% endif %}"
KINDS = {
    "an empty block for the last answer, in the prompt if thinking is off (Qwen 3)": Kind(
        template(
            "{{ '<|assistant|>\n' }}" + LAST + f"{{{{ '{BLOCK}' }}}}{{% endif %}}{{{{ m.content + '<|end|>\n' }}}}", SWITCHED
        ),
        rows_of_two=2,
    ),
    "an open or an empty block in the prompt (Qwen 3.5)": Kind(
        template(
            "{{ '<|assistant|>\n' }}" + LAST + f"{{{{ '{BLOCK}' }}}}{{% endif %}}{{{{ m.content + '<|end|>\n' }}}}",
            "{{ '<|assistant|>\n' }}{% if enable_thinking is defined and enable_thinking is false %}"
            + f"{{{{ '{BLOCK}' }}}}{{% else %}}{{{{ '<think>\n' }}}}{{% endif %}}",
        ),
        rows_of_two=2,
    ),
    "an empty block before every answer (SmolLM 3, Nemotron 3 Nano)": Kind(
        template(
            "{{ '<|assistant|>\n' }}{% if not enable_thinking %}"
            + f"{{{{ '{BLOCK}' }}}}{{% endif %}}{{{{ m.content + '<|end|>\n' }}}}",
            SWITCHED,
        )
    ),
    "an open block in every prompt, closed in the last answer, no switch (Step 3.5)": Kind(
        template(
            "{{ '<|assistant|>\n' }}" + LAST + "{{ '<think>\n\n</think>\n' }}{% endif %}{{ m.content + '<|end|>\n' }}",
            "{{ '<|assistant|>\n<think>\n' }}",
        ),
        before="\n</think>\n",
        rows_of_two=2,
    ),
    "an open block in every prompt and in no answer (QwQ, DeepSeek R1)": Kind(
        template("{{ '<|assistant|>' + m.content.split('</think>')[-1] + '<|end|>' }}", "{{ '<|assistant|><think>\n' }}"),
        rows_of_two=2,
    ),
    "a whole block in the prompt, its end alone in the answer (DeepSeek V3.2)": Kind(
        template("{{ '<|assistant|></think>' + m.content + '<|end|>' }}", "{{ '<|assistant|><think></think>' }}"), rows_of_two=2
    ),
    "an empty channel in the prompt alone (Gemma 4)": Kind(
        template(
            PLAIN,
            "{{ '<|assistant|>\n' }}{% if not enable_thinking | default(false) %}<|channel|>thought<|message|>{% endif %}",
        ),
        rows_of_two=2,
    ),
    "words that begin the thinking, and an end that comes with the next turn (Apriel 1.6)": Kind(
        template(
            "{{ '<|assistant|>\n' + m.content }}{% if not loop.last %}{{ '\n<|end|>\n' }}{% endif %}",
            "{{ '<|assistant|>\nHere are my steps:\n' }}",
        ),
        after="\n<|end|>",
        rows_of_two=2,
    ),
    "an end that comes with the next turn (Apertus)": Kind(
        template("{{ '<|assistant|>' + m.content }}", "<|assistant|>").replace(
            "{{ '<|' + m.role",
            "{% if not loop.first and loop.previtem.role == 'assistant' %}<|over|>{% endif %}{{ '<|' + m.role",
        ),
        after="<|over|>",
        ends=("<|over|>",),
    ),
    "an answer that ends where the next question begins (GLM 4.6)": Kind(
        template(
            "{{ '<|assistant|>\n<think></think>\n' + m.content.strip() }}",
            "{{ '<|assistant|>' }}{% if not enable_thinking %}{{ '\n<think></think>' }}{% endif %}",
        ),
        before="\n",
        after="<|user|>",
        ends=("</s>", "<|user|>"),
    ),
    "tokens around the words, a block in the prompt, which is written always (Command R7B)": Kind(
        loop("{{ '<|assistant|><|say|>' + m.content + '<|said|><|end|>' }}")
        + "<|assistant|>{% if not enable_thinking %}<think></think>{% endif %}",
        before="<|say|>",
        after="<|said|><|end|>",
        rows_of_two=2,
    ),
    "a last answer that ends otherwise than earlier ones (gpt-oss)": Kind(
        template(
            "{{ '<|assistant|><|channel|>final<|message|>' + m.content + ('<|return|>' if loop.last else '<|end|>') }}",
            "<|assistant|>",
        ),
        before="<|channel|>final<|message|>",
        after="<|return|>",
        rows_of_two=2,
        ends=("<|return|>",),
    ),
    "a system text that stands in the last question alone (Mistral)": Kind(
        "{% set ns = namespace(told='') %}{% if messages[0].role == 'system' %}{% set ns.told = messages[0].content + '\n\n' %}"
        "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
        "{{ '<|user|>' + (ns.told if loop.last else '') + m.content + '<|assistant|>' }}"
        "{% else %}{{ m.content + '<|end|>' }}{% endif %}{% endfor %}"
    ),
}
CONTENT = st.lists(
    st.sampled_from(["x", "two words", "<|end|>", "<|return|>", "é", "日本", "\n", "[INST]", "<|", "|>", " ", "a\n\nb"]),
    min_size=1,
    max_size=5,
).map("".join)
ANSWER = CONTENT.filter(lambda text: text.strip() == text and text != "")


@pytest.fixture(scope="module", params=list(KINDS.values()), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(scope="module")
def chat(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Chat:
    return opened(tmp_path_factory.mktemp("kind"), kind)


def opened(folder: Path, kind: Kind, *, special: tuple[str, ...] = SPECIAL, **options: Any) -> Chat:
    return open_chat(make_tokenizer(folder / "base", kind.template, special=special, ends=kind.ends), options)


def learned(chat: Chat, row: Encoded) -> list[str]:
    return [text for text, mark in chat.pieces(row) if mark]


@settings(max_examples=25)
@given(CONTENT, ANSWER)
def test_one_answer_is_learned_with_its_end_right_after_the_prompt_of_use(
    kind: Kind, chat: Chat, question: str, answer: str
) -> None:
    turns = conversation(question, answer)
    row = chat.encode(turns)
    prompt = tuple(chat.encode_prompt(turns[:1]))
    assert row.ids[: len(prompt)] == prompt and not any(row.learned[: len(prompt)])
    assert "".join(learned(chat, row)) == kind.before + answer + kind.after
    assert row.ids[max(i for i, mark in enumerate(row.learned) if mark)] in chat.end_ids


@settings(max_examples=25)
@given(ANSWER, ANSWER, st.booleans())
def test_of_two_answers_each_is_learned_with_its_end_after_its_own_prompt(
    kind: Kind, chat: Chat, first: str, second: str, system: bool
) -> None:
    turns = conversation("What is it?", first, "And then?", second, system="Be brief." if system else "")
    rows, start = chat.rows(turns), int(system)
    texts = [text for row in rows for text in learned(chat, row)]
    assert texts == [kind.before + words + kind.after for words in (first, second)]
    if not system:
        assert len(rows) == kind.rows_of_two
    for asked in (turns[: start + 1], turns[: start + 3]):
        prompt = tuple(chat.encode_prompt(asked))
        assert any(row.ids[: len(prompt)] == prompt for row in rows)
    one = Example(id="e", messages=turns, document_id="d", group="d", source="s")
    found = audit(chat, [one], [rows])
    assert not (found.without_end or found.without_labels or found.prompt_differs or found.rewritten)


@settings(max_examples=25)
@given(ANSWER)
def test_the_words_of_an_answer_and_its_end_are_all_that_is_scored(kind: Kind, chat: Chat, answer: str) -> None:
    turns = conversation("first", "an earlier one", "What is it?", answer)
    row = chat.encode_answer(turns)
    assert row.ids[: len(prompt := chat.encode_prompt(turns[:3]))] == tuple(prompt)
    scored = [token for token, mark in zip(row.ids, row.learned, strict=True) if mark]
    end = chat.tokenizer.convert_ids_to_tokens(scored[-1])
    assert kind.after.endswith(end) and chat.decode(scored[:-1]).strip() == chat.decode(chat.encode_text(answer)).strip()


def test_a_further_system_text_stays_in_the_prompt_and_in_what_is_scored(chat: Chat) -> None:
    led = chat.with_system(conversation("One?", "Two.", "Three?", system="Be kind."), "Speak as they do.")
    for text in (
        chat.render(led, answer_next=True),
        "".join(text for text, _ in chat.pieces(chat.encode_answer([*led, *conversation("", "Four.")[1:]]))),
    ):
        assert "Be kind." in text and "Speak as they do." in text


# --- the audit, with its planted faults -------------------------------------------------------------------------------


def two_answers() -> Example:
    return Example(id="two", messages=conversation("a", "b", "c", "d"), document_id="d", group="d", source="s")


def test_an_earlier_answer_that_is_learned_without_its_end_token_is_found(tmp_path: Path) -> None:
    chat = opened(tmp_path, Kind(TEMPLATE))
    (row,) = chat.rows(two_answers().messages)
    ends = [i for i, token in enumerate(row.ids) if token in chat.end_ids and row.learned[i]]
    faulty = Encoded(row.ids, tuple(mark and i != ends[0] for i, mark in enumerate(row.learned)))
    assert audit(chat, [two_answers()], [[row]]).without_end == ()
    assert audit(chat, [two_answers()], [[faulty]]).without_end == ("two",)


def test_an_earlier_answer_that_is_not_learned_at_all_is_found(tmp_path: Path) -> None:
    chat = opened(tmp_path, next(k for name, k in KINDS.items() if "gpt-oss" in name))
    rows = chat.rows(two_answers().messages)
    assert audit(chat, [two_answers()], [rows]).without_end == ()
    assert audit(chat, [two_answers()], [rows[1:]]).without_end == ("two",)


def test_an_earlier_answer_whose_prompt_is_another_in_use_is_found(tmp_path: Path) -> None:
    chat = opened(tmp_path, next(k for name, k in KINDS.items() if "Qwen 3)" in name))
    rows = chat.rows(two_answers().messages)
    changed = Encoded((9, *rows[0].ids[1:]), rows[0].learned)
    assert audit(chat, [two_answers()], [[changed, rows[1]]]).prompt_differs == ("two",)


def test_an_answer_with_thinking_of_its_own_is_refused_with_the_setting_that_helps_and_learned_under_it(tmp_path: Path) -> None:
    finished = (
        "{% set c = m.content %}{% set ns = namespace(r='') %}{% if '</think>' in c %}"
        "{% set ns.r = c.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
        "{% set c = c.split('</think>')[-1].lstrip('\n') %}"
        "{% endif %}{{ '<|assistant|>\n<think>\n' + ns.r + '\n</think>\n\n' + c + '<|end|>\n' }}"
    )
    kind = Kind(
        template(
            finished,
            "{{ '<|assistant|>\n' }}{% if enable_thinking %}{{ '<think>\n' }}{% else %}" + f"{{{{ '{BLOCK}' }}}}{{% endif %}}",
        )
    )
    turns = conversation("q", "<think>\nhalf past six\n</think>\n\nLate.")
    with pytest.raises(ModelError, match="contains its own thinking") as caught:
        opened(tmp_path / "off", kind, special=()).encode(turns)
    assert "template.enable_thinking=true" in caught.value.problems[0].hint
    on = opened(tmp_path / "on", kind, special=(), enable_thinking=True)
    assert "".join(learned(on, on.encode(turns))) == "half past six\n</think>\n\nLate.<|end|>"


def test_a_template_that_leaves_plain_answers_out_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="leaves out the text of an answer"):
        opened(tmp_path, Kind(TEMPLATE.replace("message['content']", "''")))


def test_a_prompt_and_an_answer_that_would_share_a_token_are_kept_apart(tmp_path: Path) -> None:
    chat = opened(tmp_path, Kind(template("{{ '<|assistant|>th' + m.content + '<|end|>' }}", "<|assistant|>th")))
    turns = conversation("q", "e end")  # with the header's last letters, `the` would be one token
    row, prompt = chat.encode(turns), tuple(chat.encode_prompt(turns[:1]))
    assert row.ids[: len(prompt)] == prompt and "".join(learned(chat, row)) == "e end<|end|>"
    assert audit(chat, [example("q", "e end", id="e")], [[row]]).prompt_differs == ()


# --- what is shown ----------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(ANSWER)
def test_of_an_answer_that_is_made_as_it_was_learned_the_words_alone_are_shown(kind: Kind, chat: Chat, answer: str) -> None:
    row = chat.encode(conversation("What is it?", answer))
    made = [token for token, mark in zip(row.ids, row.learned, strict=True) if mark]
    ending = Ending(chat, ())
    plain = chat.decode(chat.encode_text(answer)).strip()
    assert ending.completion(made).text.strip() == plain
    spoken = Spoken(ending)
    pieces = [spoken.said(token, last=n == len(made) - 1) for n, token in enumerate(made)]
    assert "".join(pieces).strip() == plain


def test_what_a_model_writes_in_place_of_the_usual_opening_is_shown(tmp_path: Path) -> None:
    chat = opened(tmp_path, next(k for name, k in KINDS.items() if "Step 3.5" in name))
    made = [*chat.encode_text("\n"), *chat.encode_text("I wonder.")]
    assert Ending(chat, ()).completion(made).text == "\nI wonder."
