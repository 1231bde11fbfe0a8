"""`tunesmith dedup`: the contract for scripts, what goes and what stays, bad input, and a kill at any moment."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from killed_at_random import contents, kill_at_random
from tunesmith.cli.main import main

WORDS = [f"word{n}" for n in range(500)]


def prose(seed: int, length: int = 60) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    main(["dedup", *map(str, words), "--json"])
    return json.loads(capsys.readouterr().out)


def failure(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["dedup", *map(str, words)])
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert "expected" in said and "hint:" in said
    return said


def test_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [{"id": f"r{n}", "text": prose(n)} for n in range(20)]
    rows += [{"id": "copy", "text": rows[3]["text"].upper()}, {"id": 7, "text": rows[5]["text"] + " one more word"}]
    found = run(capsys, write(tmp_path / "rows.jsonl", rows), "--threshold", 0.8)
    assert {"n", "clusters", "pairs", "seconds"} <= found.keys()
    assert found["n"] == 22 and found["pairs"] == 2 and found["clusters"] == [[7, "r5"], ["copy", "r3"]]


def test_the_order_of_the_rows_changes_nothing_but_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": f"r{n}", "text": prose(n % 30, 40 + n % 7)} for n in range(100)]
    first = run(capsys, write(tmp_path / "a.jsonl", rows))
    random.Random(3).shuffle(rows)
    second = run(capsys, write(tmp_path / "b.jsonl", rows), "--workers", 1)
    assert {**first, "seconds": 0, "removed": set(first["removed"])} == {
        **second,
        "seconds": 0,
        "removed": set(second["removed"]),
    }


def test_the_better_copy_stays_and_its_line_is_kept_byte_for_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = prose(1)
    rows = [
        {"id": "short", "text": text},
        {"id": "long", "text": text + " and a bit more", "odd": "\u2028"},
        {"id": "z", "text": prose(2)},
        {"id": "y", "text": prose(2), "date": "2020-01-01", "url": "https://example.org"},
        {"id": "b", "text": prose(3)},
        {"id": "a", "text": prose(3)},
    ]
    file = write(tmp_path / "rows.jsonl", rows)
    found = run(capsys, file, "--out", tmp_path / "out")
    assert set(found["removed"]) == {"short", "z", "b"}
    lines = file.read_bytes().split(b"\n")
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == b"\n".join([lines[1], lines[3], lines[5]]) + b"\n"
    gone = [json.loads(line) for line in (tmp_path / "out" / "removed.jsonl").read_text().splitlines()]
    assert {row["id"]: row["kept"] for row in gone} == {"short": "long", "z": "y", "b": "a"}


def test_a_copy_stays_in_test_and_what_lies_across_files_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write(tmp_path / "train.jsonl", [{"id": n, "text": prose(n) + " longer by far"} for n in range(10)])
    test = write(tmp_path / "test.jsonl", [{"id": n, "text": prose(n)} for n in range(8, 12)])
    found = run(capsys, train, test)
    assert found["removed"] == ["train:8", "train:9"]
    assert found["across"] == [{"files": ["train", "test"], "clusters": 2}]


def test_examples_and_documents_are_compared_by_what_they_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": prose(1)}]
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "system", "content": "Be kind."}, *turns]},
        {"messages": turns},
        {"instruction": "Why?", "output": prose(1)},
        {"prompt": "Why?", "completion": prose(2)},
    ]
    found = run(capsys, write(tmp_path / "rows.jsonl", rows))
    assert found["clusters"] == [["line 1", "line 2", "line 3"]]


def test_rows_that_say_the_same_in_another_order_are_copies_only_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, Any]] = [{"id": n, "text": ". ".join(prose(50 * n + s, 10) for s in range(6))} for n in range(40)]
    turned = [{"id": 100 + n, "text": ". ".join(reversed(rows[n]["text"].split(". ")[1:]))} for n in range(5)]
    rows.append({"id": 200, "text": rows[3]["text"].upper()})
    file = write(tmp_path / "rows.jsonl", [*rows, *turned])
    assert run(capsys, file)["clusters"] == [[3, 200]]
    found = run(capsys, file, "--semantic", "words")
    assert found["clusters"] == [[0, 100], [1, 101], [2, 102], [3, 103, 200], [4, 104]]
    assert found["reworded"] == 5 and 3 not in found["removed"] and found["removed"] == [200, *range(100, 105)]


def test_many_copies_are_said_aloud_and_counted_by_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": n, "text": prose(n % 4), "source": "feed" if n < 4 else "mirror"} for n in range(8)]
    file = write(tmp_path / "rows.jsonl", rows)
    main(["dedup", str(file)])
    told = capsys.readouterr()
    assert "more than 30% of the rows are copies" in told.err and "mirror" in told.out
    assert run(capsys, file)["by_source"] == {"feed": {"n": 4, "removed": 0}, "mirror": {"n": 4, "removed": 4}}


def test_broken_rows_are_named_and_the_rest_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.jsonl"
    good = orjson.dumps({"id": "a", "text": prose(1)})
    bad = [
        b"{not json",
        b'{"id": "e", "text": "  "}',
        b'{"id": true, "text": "x"}',
        b'{"id": "n", "text": 5}',
        b'["x"]',
        b"\xff",
    ]
    file.write_bytes(b"\n".join([good, b"", *bad, b'{"id": "z", "text": "two\xe2\x80\xa8lines"}']))
    found = run(capsys, file)
    assert found["n"] == 2
    assert [row["source"] for row in found["failed"]] == [f"rows.jsonl line {n}" for n in range(3, 9)]
    assert all(row["reason"] for row in found["failed"])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"id": "a", "text": "one"}, {"id": "a", "text": "two"}], "ids come more than once"),
        ([{"id": "a", "text": "one"}, {"text": "two"}], "rows of rows.jsonl have no id"),
        ([{"id": "a", "text": ""}], "no row in this file can be used"),
        ([], "no row in this file can be used"),
    ],
)
def test_rows_that_cannot_be_told_apart_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[dict[str, Any]], said: str
) -> None:
    assert said in failure(capsys, write(tmp_path / "rows.jsonl", lines))


def test_wrong_files_thresholds_and_engines_are_errors_in_four_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "rows.jsonl", [{"id": "a", "text": "one"}])
    (tmp_path / "array.json").write_text('[{"id": "a", "text": "one"}]')
    assert "cannot read this file" in failure(capsys, tmp_path / "absent.jsonl")
    assert "cannot read this file" in failure(capsys, tmp_path)
    assert "one JSON array" in failure(capsys, tmp_path / "array.json")
    assert "threshold" in failure(capsys, file, "--threshold", 0.1)
    assert "unknown engine" in failure(capsys, file, "--engine", "spark")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert "holds something else" in failure(capsys, file, "--out", tmp_path / "full")
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"


@pytest.mark.slow
def test_killed_twenty_times_at_random_and_run_again_the_output_is_byte_identical(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", [{"id": n, "text": prose(n % 600, 120)} for n in range(1000)])
    whole, out = tmp_path / "whole" / "out", tmp_path / "killed" / "out"
    verb = ["tunesmith.api.deduplication", "tunesmith.cli.verbs.dedup"]
    killed = kill_at_random(["dedup", file, "--out", whole], ["dedup", file, "--out", out], modules=verb)
    assert killed >= 1
    assert contents(out) == contents(whole) and len(contents(out)) == 3
    assert [path.name for path in out.parent.iterdir()] == ["out"]
