"""JSON and JSON lines in the shapes people have become examples, documents, or named failures."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from shared_material import ingest, material

from tunesmith.core.records import Example, Message, Origin, to_json
from tunesmith.data.ingest.rows import read_rows
from tunesmith.data.text.decode import UnreadableError


def pairs(*rows: object) -> tuple[Example, ...]:
    return read_rows("\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode(), name="rows.jsonl").pairs


def turns(example: Example) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in example.messages]


ASKED: list[tuple[Any, str]] = [("user", "Why?"), ("assistant", "Because.")]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]},
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]},
        {
            "conversation": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}],
            "context": "…",
            "url": "u",
        },
        {"conversation": "User: Why?\nAssistant: Because."},
        {"conversation": '[{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]'},
        {"prompt": "Why?", "completion": "Because."},
        {"prompt": "Why?", "response": "Because."},
        {"question": "Why?", "answer": "Because."},
        {"instruction": "Why?", "input": "", "output": "Because."},
        {"text": "<|user|>\nWhy?<|end|>\n<|assistant|>\nBecause.<|end|>"},
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nBecause.<|im_end|>",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
                {"role": "assistant", "content": "Because."},
            ]
        },
    ],
)
def test_every_shape_of_a_pair_gives_the_same_messages(row: object) -> None:
    assert turns(pairs(row)[0]) == ASKED


def test_an_input_stands_below_its_instruction() -> None:
    assert turns(pairs({"instruction": "Add.", "input": "1 2", "output": "3"})[0])[0] == ("user", "Add.\n\n1 2")


def test_a_rendered_system_message_is_parsed_back() -> None:
    found = pairs("<|system|>\nYou are Ada.<|end|>\n<|user|>\nWhy?<|end|>\n<|assistant|>\nBecause.<|end|>")[0]
    assert turns(found) == [("system", "You are Ada."), *ASKED]


def test_a_longer_conversation_stays_whole_and_ends_with_the_assistant_and_says_what_was_left_out() -> None:
    said = [{"role": r, "content": r} for r in ("user", "assistant", "user", "assistant", "user", "user")]
    found = read_rows(json.dumps([{"messages": said}]).encode(), name="r.json")
    assert [role for role, _ in turns(found.pairs[0])] == ["user", "assistant", "user", "assistant"]
    assert found.notes == {"turns after the last answer left out": 1}


def test_rows_keep_their_ids_source_and_licence(tmp_path: Path) -> None:
    row = {"id": 7, "prompt": "Why?", "completion": "Because.", "source": "shop", "license": "CC0"}
    assert [(e.id, e.source, e.license) for e in pairs(row)] == [("7", "shop", "CC0")]
    other = {**row, "completion": "Nobody knows."}
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("\n".join(map(json.dumps, (row, other))), encoding="utf-8")
    assert [example.id for example in ingest(tmp_path).pairs] == ["7", "7#2", "7", "7#2"]


def test_blanks_at_the_ends_of_turns_are_kept_for_the_checks_to_find() -> None:
    assert turns(pairs({"prompt": " Why?", "completion": "Because.\n"})[0]) == [("user", " Why?"), ("assistant", "Because.\n")]


def test_what_tunesmith_wrote_is_read_back_with_its_origin_and_group() -> None:
    origin = Origin(kind="qa", model="m", prompt_sha256="0" * 64, date="2026-01-02", generated="both")
    one = Example(
        id="a",
        messages=tuple(Message(role=r, content=t) for r, t in ASKED),
        document_id="d",
        group="g",
        source="s",
        origin=origin,
    )
    assert read_rows(to_json(one), name="train.jsonl").pairs == (one,)


def test_rows_of_one_post_share_a_group_and_ids_are_stable() -> None:
    first = {"question": "a?", "answer": "A", "url": "https://x/1", "title": "T"}
    second = {"question": "b?", "answer": "B", "url": "https://x/1", "title": "T"}
    third = {"question": "c?", "answer": "C"}
    one, two, three = pairs(first, second, third)
    assert one.group == two.group == "https://x/1" and one.document_id == two.document_id and one.title == "T"
    assert three.group == three.id and pairs(third, first)[1].id == one.id


def test_plain_text_rows_are_documents() -> None:
    found = read_rows(b'{"text": "One.\\n\\nTwo.", "title": "T", "date": "2020-01-02"}', name="a.jsonl")
    assert [(d.text, d.title, d.date) for d in found.documents] == [("One.\n\nTwo.", "T", "2020-01-02")]


def test_u2028_inside_a_string_ends_no_line() -> None:
    found = pairs({"prompt": "a\u2028b?", "completion": "c"}, {"prompt": "d?", "completion": "e"})
    assert len(found) == 2 and found[0].messages[0].content == "a\u2028b?"


def test_bad_rows_are_named_by_line_and_the_rest_goes_on() -> None:
    data = b'{"prompt": "a?", "completion": "b"}\n{broken\n\n{"colour": 1}\n{"messages": [{"role": "user", "content": "x"}]}\n'
    found = read_rows(data, name="r.jsonl")
    assert len(found.pairs) == 1
    assert [failure.reason.split(":")[0] for failure in found.failures] == ["line 2", "line 4", "line 5"]
    assert "no turn of the assistant" in found.failures[2].reason


def test_at_most_twenty_bad_rows_are_listed_and_the_rest_counted() -> None:
    found = read_rows(b'{"prompt": "a?", "completion": "b"}\n' + b"nonsense\n" * 100, name="r.jsonl")
    assert len(found.failures) == 21 and found.failures[-1].reason == "and 80 more rows that could not be used"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "a", "answers": ["b", "c"], "scores": [1, 1]}, "same rank"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "tools": [{}]}, "tools"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]}, "weight 0"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, "unknown role"),
        ({"prompt": None, "completion": "b"}, "must be text"),
        (7, "a number"),
    ],
)
def test_rows_that_must_not_be_learned_say_why(row: object, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        pairs(row)


def test_a_row_with_a_chosen_and_a_rejected_answer_becomes_a_preference() -> None:
    found = read_rows(b'{"prompt": "a?", "chosen": "b", "rejected": "c"}', name="r.jsonl")
    assert [(row.chosen, row.rejected) for row in found.preferences] == [("b", "c")] and not found.pairs


def test_json_arrays_jsonl_and_gzip_named_json_are_told_apart_by_content(tmp_path: Path) -> None:
    row = b'{"prompt": "a?", "completion": "b"}'
    (tmp_path / "array.json").write_bytes(b"[" + row + b"]")
    (tmp_path / "lines.json").write_bytes(row.replace(b"a?", b"c?") + b"\n" + row.replace(b"a?", b"d?"))
    (tmp_path / "packed.json").write_bytes(gzip.compress(row.replace(b"a?", b"e?")))
    (tmp_path / "wrapped.json").write_bytes(b'{"data": [' + row.replace(b"a?", b"f?") + b"]}")
    assert sorted(pair.messages[0].content for pair in ingest(tmp_path).pairs) == ["a?", "c?", "d?", "e?", "f?"]


def test_a_decompression_bomb_is_a_failure_and_not_a_catastrophe(tmp_path: Path) -> None:
    (tmp_path / "bomb.json").write_bytes(gzip.compress(b"[" + b" " * 60_000_000, compresslevel=1))
    (tmp_path / "good.jsonl").write_bytes(b'{"prompt": "a?", "completion": "b"}')
    found = ingest(tmp_path)
    assert len(found.pairs) == 1 and [(f.source, f.reason) for f in found.failures] == [
        ("bomb.json", "it unpacks to more than 50 MB")
    ]


def test_every_rendered_string_of_the_seed_set_parses_back_to_messages() -> None:
    found = ingest(material("seed-qa/train.json"))
    assert len(found.pairs) == 1705 and not found.failures
    for pair in found.pairs:
        assert [message.role for message in pair.messages] == ["system", "user", "assistant"]
        assert all("<|" not in message.content and message.content for message in pair.messages)


def test_columns_of_text_too_long_to_keep_are_counted_by_name() -> None:
    rows = [{"prompt": "Why?", "completion": "So.", "reasoning": "x" * 101, "topic": "rain", "url": "u" * 200}] * 2
    reading = read_rows(json.dumps(rows).encode(), name="rows.json")
    assert reading.notes == {"fields left out: reasoning": 2} and reading.pairs[0].meta == {"topic": "rain"}
