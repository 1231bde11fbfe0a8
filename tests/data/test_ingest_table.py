"""Tables and request logs go through the shapes of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from shared_material import ingest

from tunesmith.data.ingest.readers.table import read_table
from tunesmith.data.ingest.rows import read_rows
from tunesmith.data.rows.table import table_rows
from tunesmith.data.text.decode import UnreadableError

ASKED = [("user", "Why?"), ("assistant", "Because,\nyes.")]


def turns(data: bytes, name: str = "a.csv") -> list[list[tuple[str, str]]]:
    return [[(m.role, m.content) for m in pair.messages] for pair in read_table(data, name=name).pairs]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_dialect_gives_the_same_pairs(delimiter: str) -> None:
    data = f'\ufeffPrompt {delimiter}completion\r\n"Why?"{delimiter}"Because,\nyes."\r\n\r\n'.encode()
    assert turns(data) == [ASKED]
    assert turns(data, "a.tsv") == [ASKED] if delimiter == "\t" else True


def test_instruction_tables_and_text_tables_are_read() -> None:
    assert turns(b"instruction,input,output\nAdd.,1 2,3\nSay.,,so\n") == [
        [("user", "Add.\n\n1 2"), ("assistant", "3")],
        [("user", "Say."), ("assistant", "so")],
    ]
    found = read_table(b"title;text;date\nT;One and two.;2020-01-02\n", name="a.csv").documents[0]
    assert (found.title, found.text, found.date) == ("T", "One and two.", "2020-01-02")


def test_rows_of_another_length_are_named_and_the_rest_goes_on() -> None:
    found = read_table(b'prompt,completion\na?,b,c\nd?,e\nf?,"' + b"x" * 2_100_000 + b'"\ng?,h\n', name="a.csv")
    assert [failure.reason.split(" (")[0] for failure in found.failures][:2] == [
        "row 2: 3 cells where the head has 2",
        "row 4: it is not a row of a table",
    ]
    assert found.pairs[0].messages[0].content == "d?"


def test_a_quote_that_is_never_closed_is_named_and_swallows_nothing_unseen(tmp_path: Path) -> None:
    rows = list(table_rows(b'prompt,completion\nq0,a0\nq1,"unclosed\nq2,a2\nq3,a3\n', name="a.csv"))
    assert [(place, problem[:35]) for place, _, problem in rows] == [
        ("row 2", ""),
        ("row 3", "a quote is opened in it and never c"),
    ]
    sound = b'prompt,completion\nq1,"two\nlines"\nq2,a 5" pipe\n'
    assert [problem for _, _, problem in table_rows(sound, name="a.csv")] == ["", ""]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"a,a\n1,2\n", "the same name"), (b"a,b\n1,2\n", "it holds a, b"), (b" \n", "empty"), (b"x\xff\xfe\x00", "binary")],
)
def test_a_table_that_cannot_be_used_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read_table(data, name="a.csv")


def test_tables_lie_in_folders_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\nWhy?,So.\n")
    (tmp_path / "b.tsv").write_text("question\tanswer\nWho?\tMe.\n")
    assert len(ingest(tmp_path).pairs) == 2


def logged(**changes: Any) -> bytes:
    request = {"model": "m", "messages": [{"role": "user", "content": "Why?"}]}
    response = {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "So."}}]}
    return orjson.dumps({"id": 1, "request": request, "response": response} | changes)


def test_a_request_log_gives_its_messages_and_the_first_answer() -> None:
    batch = {"request": {"body": {"prompt": "Why?"}}, "response": {"status_code": 200, "body": {"choices": [{"text": "So."}]}}}
    for data in (logged(), logged(**batch)):
        messages = read_rows(data, name="log.jsonl").pairs[0].messages
        assert [(message.role, message.content) for message in messages] == [("user", "Why?"), ("assistant", "So.")]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"error": {"message": "busy"}}, "no answer"),
        ({"choices": []}, "no answer"),
        ({"choices": [{"finish_reason": "length", "message": {"content": "So"}}]}, "cut at the token limit"),
        ({"choices": [{"finish_reason": "tool_calls", "message": {"content": None, "tool_calls": []}}]}, "no text"),
    ],
)
def test_a_call_without_a_whole_answer_is_not_learned(response: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read_rows(logged(response=response), name="log.jsonl")
