"""Files of examples: mixed ones told row by row, hostile rows named, and `tunesmith convert` as people type it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from shared_material import material

from tunesmith.cli.main import main
from tunesmith.core.errors import SourceError
from tunesmith.data.ingest.row_file import read_file
from tunesmith.data.rows.convert import convert

HOSTILE = [
    b'{"prompt": NaN, "completion": "b"}',
    b'{"prompt": "\\ud800", "completion": "b"}',
    b"[" * 3000,
    b'{"prompt": ' + b'{"a": ' * 600 + b"1" + b"}" * 600 + b', "completion": "b"}',
    b'{"prompt": "' + b"x" * 3_000_000,
    b'{"messages": {"messages": {"messages": 1}}}',
    b'{"messages": [{"role": {"a": 1}, "content": []}]}',
    b'{"prompt": true, "completion": "b"}',
    b"nonsense",
    b'""',
    b"[]",
    b"1e5",
]


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows) + b"\n")
    return path


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_hostile_rows_end_as_named_rows_and_the_others_are_read(tmp_path: Path) -> None:
    good = {"prompt": "Why?", "completion": "So."}
    file = read_file(jsonl(tmp_path / "h.jsonl", good, *HOSTILE, good))
    assert len(file.rows) == 3  # the empty string is an empty text
    assert [where for where, _ in file.refused] == [f"line {n}" for n in range(2, 14) if n != 11]
    assert all(reason and len(reason) < 300 for _, reason in file.refused)


def test_fields_nested_too_deep_to_be_written_refuse_their_row_alone(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    file = read_file(
        jsonl(tmp_path / "d.jsonl", {"prompt": "a", "completion": "b", "x": deep}, {"prompt": "a", "completion": "b"})
    )
    made = convert(file, "messages")
    assert len(made.rows) == 1 and made.refused[0][0] == "line 1" and "written as JSON" in made.refused[0][1]


def test_a_mixed_file_is_told_row_by_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"prompt": "a", "completion": "b"},
        {"instruction": "a", "output": "b"},
        {"prompt": "c", "completion": "d"},
        {"x": 1},
    ]
    code, out, _ = run("convert", jsonl(tmp_path / "m.jsonl", *rows), "--json", capsys=capsys)
    said = orjson.loads(out)
    assert code == 0 and [(f["format"], f["rows"], f["sure"]) for f in said["formats"]] == [
        ("prompt_completion", 2, 1.0),
        ("alpaca", 1, 1.0),
    ]
    assert [row["row"] for row in said["by_row"]] == ["line 1", "line 2", "line 3"]
    assert said["unreadable"] == [{"row": "line 4", "reason": said["unreadable"][0]["reason"]}]


def test_converting_writes_what_can_be_held_and_exits_2_for_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = [{"messages": talk}, {"messages": [*talk, *talk, talk[0]]}]
    out_file = tmp_path / "o.json"
    arguments = ("convert", jsonl(tmp_path / "m.jsonl", *rows), "--to", "alpaca", "--out", out_file, "--json")
    code, out, _ = run(*arguments, capsys=capsys)
    assert code == 2 and orjson.loads(out_file.read_bytes()) == [{"instruction": "a", "input": "", "output": "b"}]
    said = orjson.loads(out)
    assert said["written"] == 1 and [row["row"] for row in said["refused"]] == ["line 2"]


def test_lossy_lets_go_of_what_a_format_cannot_hold_and_counts_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = jsonl(tmp_path / "p.jsonl", {"prompt": "a", "chosen": "b", "rejected": "c"})
    code, _, err = run("convert", file, "--to", "messages", capsys=capsys)
    assert code == 1 and "it would lose rejected" in err and "--lossy" in err
    code, out, err = run("convert", file, "--to", "messages", "--lossy", capsys=capsys)
    assert code == 0 and [m["content"] for m in orjson.loads(out)["messages"]] == ["a", "b"] and "rejected (1)" in err


def test_prompts_are_lists_of_turns_in_all_rows_if_one_needs_it(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d", "system": "Be kind."}]
    made = convert(read_file(jsonl(tmp_path / "t.jsonl", *rows)), "prompt_completion")
    assert made.turns and [len(row["prompt"]) for row in made.rows] == [1, 2] and not made.refused


def test_a_table_converts_as_rows_do(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Prompt,Completion,Label\nWhy?,So.,false\n", encoding="utf-8")
    made = convert(read_file(tmp_path / "t.csv"), "kto")
    assert made.rows == ({"prompt": "Why?", "completion": "So.", "label": False},)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "mesages"], "--to messages"),
        (["--to", "messages", "--json"], "--json needs --out"),
        (["--from", "nothing"], "unknown format"),
        (["--to", "messages", "--from", "alpaca"], "no instruction and output"),
    ],
)
def test_mistakes_are_answered_with_what_to_type(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = jsonl(tmp_path / "f.jsonl", {"prompt": "a", "completion": "b"})
    code, _, err = run("convert", file, *arguments, capsys=capsys)
    assert code == 1 and said in err and "hint:" in err
    code, _, err = run("convert", file, "--to", "messages", "--out", file, capsys=capsys)
    assert code == 1 and "the file that is read" in err


def test_files_without_rows_are_refused_by_name(tmp_path: Path) -> None:
    for name, data in (("e.jsonl", b""), ("b.jsonl", b"\x89PNG\x00\x01"), ("m.md", b"# Words")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match="cannot read rows"):
            read_file(tmp_path / name)
    with pytest.raises(SourceError, match="file not found") as caught:
        read_file(tmp_path / "x.jsonl")
    assert "e.jsonl" in str(caught.value) or "b.jsonl" in str(caught.value)
    with pytest.raises(SourceError, match="cannot be opened"):
        read_file(tmp_path)


def test_the_seed_set_goes_to_messages_and_back_string_for_string(tmp_path: Path) -> None:
    source = material("seed-qa/test.json")
    messages = convert(read_file(source), "messages")
    assert len(messages.rows) == 212 and not messages.refused and not messages.lost
    back = convert(read_file(jsonl(tmp_path / "m.jsonl", *messages.rows)), "seed_qa")
    assert list(back.rows) == orjson.loads(source.read_bytes())


def test_real_preferences_and_labels_are_read_whole() -> None:
    dpo = read_file(material("preference/dpo_en_demo.json"))
    kto = read_file(material("preference/kto_en_demo.json"))
    assert dpo.formats == {"preference": len(dpo.rows)} and not dpo.refused
    assert kto.formats == {"kto": 300} and sum(row.entry.label is True for row in kto.rows) == 150
