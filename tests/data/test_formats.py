"""Formats: each is told from the others, and a row that goes to messages and back has lost nothing."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.rows import FORMATS, TARGETS, FormatError, detect, needs_turns, read_entry, write_entry
from tunesmith.data.rows.rendered import TEMPLATES, parse_rendered, render, template_of

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "So."},
]
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
SAMPLES: dict[str, Any] = {
    "messages": {"messages": TALK, "id": 7},
    "tool_messages": {
        "messages": [
            *TALK[:2],
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "2", "tool_call_id": "c1"},
            TALK[2],
        ],
        "tools": [{"type": "function", "function": {"name": "add", "parameters": {}}}],
    },
    "sharegpt": {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
    "alpaca": {"instruction": "Add.", "input": "1 2", "output": "3"},
    "prompt_completion": {"prompt": "Why?", "completion": "So."},
    "preference": {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
    "kto": {"prompt": "Why?", "completion": "So.", "label": False},
    "ranking": {"prompt": "Why?", "answers": ["So.", "Perhaps.", "No."], "scores": [0.9, 0.5, 0.1]},
    "text": {"text": "Rust is patient."},
    "seed_qa": "<|user|>\nWhy?<|end|>\n<|assistant|>\nSo.<|end|>",
    "dialogue": {"conversation": "User: Why?\nAssistant: So."},
    "request_log": {
        "request": {"messages": TALK[1:2]},
        "response": {"choices": [{"message": {"role": "assistant", "content": "So."}, "finish_reason": "stop"}]},
    },
} | {name: {"text": render(read_entry({"messages": TALK[1:]})[0].turns, name)} for name in TEMPLATES if name != "dialogue"}

NO_HALVES: tuple[Literal["Cs"]] = ("Cs",)
texts = st.text(st.characters(exclude_categories=NO_HALVES), min_size=1, max_size=40)
words = st.text("abc .\n'\"{}", min_size=1, max_size=30)
extras = st.dictionaries(st.sampled_from(["id", "url", "title", "topic"]), texts | st.integers(0, 9) | st.none(), max_size=3)


def exchanges(said: st.SearchStrategy[str], *, system: bool = True) -> st.SearchStrategy[list[tuple[str, str]]]:
    """System prompt or none, then user and assistant by turns."""
    heads = st.lists(said.map(lambda text: ("system", text)), max_size=1) if system else st.just([])
    pairs = st.lists(st.tuples(said, said), min_size=1, max_size=3)
    return st.builds(
        lambda h, p: [*h, *((r, t) for pair in p for r, t in zip(("user", "assistant"), pair, strict=True))], heads, pairs
    )


@st.composite
def rows(draw: st.DrawFn, format: str) -> dict[str, Any]:
    """A row as the format itself writes it, with anything in its texts that JSON can say."""
    more = draw(extras)
    if format in ("messages", "tool_messages"):
        row: dict[str, Any] = {"messages": [{"role": r, "content": t} for r, t in draw(exchanges(texts))]}
        if format == "tool_messages":
            row["messages"][-1] |= {"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": draw(texts)}}]}
            row["messages"].append({"role": "tool", "content": draw(texts)})
        return row | more
    if format == "sharegpt":
        names = {"system": "system", "user": "human", "assistant": "gpt"}
        return {"conversations": [{"from": names[r], "value": t} for r, t in draw(exchanges(texts))]} | more
    if format == "alpaca":
        given = draw(texts.filter(lambda t: bool(t.strip())) | st.just(""))
        row = {"instruction": draw(texts), "input": given, "output": draw(texts)}
        if draw(st.booleans()):
            row["system"] = draw(texts.filter(lambda t: bool(t.strip())))
        if draw(st.booleans()):
            row["history"] = [list(pair) for pair in draw(st.lists(st.tuples(texts, texts), min_size=1, max_size=2))]
        return row | more
    if format == "prompt_completion":
        return {"prompt": draw(texts), "completion": draw(texts)} | more
    if format == "preference":
        return {"prompt": draw(texts), "chosen": draw(texts), "rejected": draw(texts)} | more
    if format == "kto":
        return {"prompt": draw(texts), "completion": draw(texts), "label": draw(st.booleans())} | more
    answers = draw(st.lists(texts, min_size=2, max_size=4))
    row = {"prompt": draw(texts), "answers": answers}
    if draw(st.booleans()):
        row["scores"] = sorted((draw(st.integers(0, 9)) for _ in answers), reverse=True)
    return row | more


@pytest.mark.parametrize("format", FORMATS)
def test_a_sample_of_every_format_is_told_from_all_others(format: str) -> None:
    found = detect(SAMPLES[format])
    assert (found.format, found.sure >= 0.7, bool(found.saw)) == (format, True, True)


@pytest.mark.parametrize("format", ["messages", "tool_messages", "sharegpt", "alpaca", "prompt_completion"])
@given(data=st.data())
def test_a_conversation_that_goes_to_messages_and_back_has_lost_nothing(format: str, data: st.DataObject) -> None:
    row = data.draw(rows(format))
    entry, found = read_entry(row)
    assert found.format == format
    hub = write_entry(entry, "tool_messages")
    assert hub.lost == () and len(hub.rows) == 1
    back = write_entry(read_entry(hub.rows[0])[0], format)
    assert back.lost == () and back.rows == (row,)


@pytest.mark.parametrize("format", ["preference", "kto", "ranking"])
@given(data=st.data())
def test_rows_with_several_or_labelled_answers_come_back_as_they_were(format: str, data: st.DataObject) -> None:
    row = data.draw(rows(format))
    entry, found = read_entry(row)
    for turns in (False, True):
        written = write_entry(entry, format, turns=turns)
        again, _ = read_entry(written.rows[0])
        assert found.format == format and written.lost == () and again == entry
    assert write_entry(entry, format).rows == (row,)


@pytest.mark.parametrize("template", TEMPLATES)
@given(turns=exchanges(words))
def test_a_rendered_string_gives_its_turns_back_or_is_refused(template: str, turns: list[tuple[str, str]]) -> None:
    entry, _ = read_entry({"messages": [{"role": role, "content": text} for role, text in turns]})
    try:
        written = write_entry(entry, template)
    except FormatError as error:
        assert "template" in str(error)
        return
    assert read_entry(written.rows[0])[0].turns == entry.turns


@given(exchanges(texts.filter(lambda text: "<|" not in text)))
def test_phi3_and_chatml_hold_every_text_without_their_marks(turns: list[tuple[str, str]]) -> None:
    entry, _ = read_entry({"messages": [{"role": role, "content": text} for role, text in turns]})
    for template in ("phi3", "chatml", "seed_qa"):
        assert read_entry(write_entry(entry, template).rows[0])[0].turns == entry.turns


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_becomes_every_other_or_says_why_not_and_what_goes(format: str, to: str) -> None:
    entry, _ = read_entry(SAMPLES[format])
    try:
        written = write_entry(entry, to, turns=needs_turns(entry, to))
    except FormatError as error:
        assert len(str(error)) > 15
        return
    for row in written.rows:
        again, found = read_entry(row)
        assert found.format == to or (found.format, to) == ("messages", "tool_messages")
        if not written.lost and len(written.rows) == 1:
            assert again.answers == entry.answers and again.extras == entry.extras


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "a", "chosen": "b"}, "both chosen and rejected"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, "unknown role 'wizard'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, "only text is read"),
        ({"messages": ["a", "b"]}, "without roles"),
        ({"messages": [{"role": "assistant", "content": None}]}, "has no text"),
        ({"messages": TALK, "tools": "{broken"}, "not valid JSON"),
        ({"messages": TALK, "system": "Be long."}, "two system prompts"),
        ({"instruction": "a", "output": "b", "history": "c"}, "history"),
        ({"prompt": "a", "answers": ["b", "c"], "scores": [1]}, "2 answers and 1 scores"),
        ({"prompt": ["a"], "completion": "b"}, "must be text"),
        ({"colour": 1}, "it holds colour"),
        (7, "a number"),
        (None, "null"),
    ],
)
def test_a_row_that_no_format_reads_says_why(row: object, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        read_entry(row)


@pytest.mark.parametrize(
    ("row", "to", "reason"),
    [
        (SAMPLES["text"], "messages", "without turns"),
        (SAMPLES["messages"], "text", "no turns"),
        (SAMPLES["messages"], "preference", "one answer"),
        (SAMPLES["kto"], "messages", "marked as a bad answer"),
        (SAMPLES["tool_messages"], "messages", "tool_messages does"),
        (SAMPLES["tool_messages"], "alpaca", "no calls of tools"),
        ({"messages": TALK}, "gemma", "no system turn"),
        ({"prompt": "What does <|end|> do?", "completion": "It ends."}, "phi3", "does not give these turns back"),
        ({"prompt": "a", "answers": ["b", "c"], "scores": [1, 1]}, "preference", "same score"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_the_reason(row: object, to: str, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        write_entry(read_entry(row)[0], to)


def test_what_goes_is_named() -> None:
    assert write_entry(read_entry(SAMPLES["preference"])[0], "messages").lost == ("rejected",)
    assert write_entry(read_entry(SAMPLES["ranking"])[0], "preference").lost == ("scores",)
    assert write_entry(read_entry({**SAMPLES["messages"], "url": "u"})[0], "seed_qa").lost == ("id", "url")
    named = {"messages": [{**TALK[1], "name": "Olga"}, TALK[2]]}
    assert write_entry(read_entry(named)[0], "alpaca").lost == ("name of a turn",)


def test_a_ranking_gives_a_preference_for_each_two_answers_of_different_scores() -> None:
    entry, _ = read_entry({"prompt": "p", "answers": ["worst", "best", "good", "as good"], "scores": [0, 9, 5, 5]})
    pairs = [(row["chosen"], row["rejected"]) for row in write_entry(entry, "preference").rows]
    assert pairs == [("best", "good"), ("best", "as good"), ("best", "worst"), ("good", "worst"), ("as good", "worst")]


@pytest.mark.parametrize(
    "row",
    [
        {
            "prompt": "Why?",
            "chosen": [{"role": "assistant", "content": "So."}],
            "rejected": [{"role": "assistant", "content": "No."}],
        },
        {
            "conversations": [{"from": "human", "value": "Why?"}],
            "chosen": {"from": "gpt", "value": "So."},
            "rejected": {"from": "gpt", "value": "No."},
        },
        {"chosen": [*TALK[1:2], TALK[2]], "rejected": [*TALK[1:2], {"role": "assistant", "content": "No."}]},
        {"chosen": "\n\nHuman: Why?\n\nAssistant: So.", "rejected": "\n\nHuman: Why?\n\nAssistant: No."},
        {"instruction": "Why?", "input": "", "chosen": "So.", "rejected": "No."},
    ],
)
def test_preferences_are_read_in_all_their_shapes(row: object) -> None:
    entry, _ = read_entry(row)
    assert [(t.role, t.content) for t in entry.turns] == [("user", "Why?")] and entry.answers == ("So.", "No.")


def test_a_text_about_templates_is_a_text() -> None:
    post = {"text": "The mark <|user|> opens a turn, and <|end|> ends it."}
    assert detect(post).format == "text" and detect(post).sure == 0.5
    assert template_of("See [INST] and ### Response: in the docs.") == ""


def test_words_after_the_end_of_a_turn_are_not_dropped_in_silence() -> None:
    with pytest.raises(FormatError):
        parse_rendered("<|user|>\nWhy?<|end|>\nlost words\n<|assistant|>\nSo.<|end|>", "phi3")


ABOUT_RAIN = "It rained all morning, and then it stopped."


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "When did it stop?", "context": ABOUT_RAIN, "response": "At noon."},
        {"instruction": "When did it stop?", "input": "", "context": ABOUT_RAIN, "output": "At noon."},
        {"question": "When did it stop?", "context": ABOUT_RAIN, "answer": "At noon."},
        {"prompt": "When did it stop?", "input": ABOUT_RAIN, "response": "At noon."},
    ],
)
@pytest.mark.parametrize("to", ["alpaca", "prompt_completion", "messages"])
def test_what_a_question_is_about_is_asked_with_it_once_and_stays_apart_from_it(row: dict[str, str], to: str) -> None:
    entry, _ = read_entry(row)
    assert entry.turns[0].content == f"When did it stop?\n\n{ABOUT_RAIN}" and entry.extras == {"input": ABOUT_RAIN}
    written = write_entry(entry, to)
    again, _ = read_entry(written.rows[0])
    assert again == entry and not written.lost


def test_the_context_of_a_preference_is_asked_with_its_question() -> None:
    entry, _ = read_entry({"question": "When?", "context": ABOUT_RAIN, "chosen": "At noon.", "rejected": "Never."})
    assert entry.turns[0].content == f"When?\n\n{ABOUT_RAIN}" and entry.answers == ("At noon.", "Never.")
