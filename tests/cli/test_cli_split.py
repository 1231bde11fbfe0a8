"""`tunesmith split` and `tunesmith golden`: contracts for scripts, bad input, and a kill at any moment."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from killed_at_random import contents, kill_at_random
from tunesmith.cli.main import main

WORDS = [f"word{n}" for n in range(900)]


def prose(seed: int, length: int = 40) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def examples(documents: int, per_document: int = 2) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{d}-{n}",
            "prompt": f"Question {d} {n}?",
            "completion": prose(10 * d + n),
            "url": f"https://example.org/{d}",
            "author": f"a{d % 30}",
            "date": f"20{10 + d % 12}-0{1 + d % 9}-01",
            "label": "xy"[d % 2],
        }
        for d in range(documents)
        for n in range(per_document)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    main([*map(str, words), "--json"])
    return json.loads(capsys.readouterr().out)


def failure(capsys: pytest.CaptureFixture[str], *words: object, code: int = 1) -> str:
    with pytest.raises(SystemExit) as caught:
        main(list(map(str, words)))
    assert caught.value.code == code
    told = capsys.readouterr()
    return told.err + told.out


def ids(path: Path) -> set[Any]:
    return {json.loads(line)["id"] for line in path.read_bytes().split(b"\n") if line}


def test_the_contract_of_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = examples(100)
    found = run(capsys, "split", write(tmp_path / "rows.jsonl", rows), "--by", "document", "--out", tmp_path / "out")
    assert found["n"] == 200 and found["leaks"] == [] and sum(found["counts"].values()) == 200
    kept = {name: ids(tmp_path / "out" / f"{name}.jsonl") for name in ("train", "val", "test")}
    assert {name: len(part) for name, part in kept.items()} == found["counts"]
    assert not {i.split("-")[0] for i in kept["train"]} & {i.split("-")[0] for i in kept["test"]}
    first = json.loads((tmp_path / "out" / "test.jsonl").read_text().split("\n")[0])
    assert first in rows  # every field as it was


@pytest.mark.parametrize("by", ["document", "author", "time", "thread", "row"])
def test_every_way_to_split_works_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str) -> None:
    rows = [{**row, "thread": row["url"]} for row in examples(120, 1)]
    found = run(capsys, "split", write(tmp_path / "rows.jsonl", rows), "--by", by)
    assert found["by"] == by and all(found["counts"].values())
    assert (found["borders"] != {}) == (by == "time")


def test_groups_and_labels_come_from_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "rows.jsonl", [{**row, "customer": f"c{n % 25}"} for n, row in enumerate(examples(150, 1))])
    found = run(capsys, "split", file, "--by", "group", "--group", "customer", "--stratify", "label")
    assert sum(found["units"].values()) == 25 and found["labels"].keys() == {"x", "y"}


def test_planted_copies_leave_train_and_planted_tears_are_blocking_leaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = examples(60, 2)
    copies = [{**row, "id": f"copy-{row['id']}", "url": f"https://mirror.example/{n}"} for n, row in enumerate(rows)]
    file = write(tmp_path / "rows.jsonl", [*rows, *copies])
    assert run(capsys, "split", file)["removed_copies"] > 20
    said = failure(capsys, "split", file, "--by", "row", "--json", code=2)
    leaks = json.loads(said)["leaks"]
    assert leaks[0]["id"] == "same_source" and leaks[0]["severity"] == "error"


def test_texts_with_an_id_can_be_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": n, "text": prose(n), "topic": "t"} for n in range(80)]
    found = run(capsys, "split", write(tmp_path / "rows.jsonl", rows), "--out", tmp_path / "out")
    assert found["n"] == 80
    assert set.union(*(ids(tmp_path / "out" / f"{name}.jsonl") for name in ("train", "val", "test", "removed"))) == set(
        range(80)
    )


def test_what_is_typed_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "rows.jsonl", examples(40))
    assert "unknown value of" in failure(capsys, "split", file, "--by", "post")
    assert "leave too little" in failure(capsys, "split", file, "--val", 0.5, "--test", 0.5)
    assert "go together" in failure(capsys, "split", file, "--by", "group")
    assert "go together" in failure(capsys, "split", file, "--group", "author")
    assert "cannot read" in failure(capsys, "split", tmp_path / "absent.jsonl")
    assert "no row in this file" in failure(capsys, "split", write(tmp_path / "bad.jsonl", [{"x": 1}]))
    twins = write(tmp_path / "twins.jsonl", [*examples(3), examples(1)[0]])
    assert "comes more than once" in failure(capsys, "split", twins)
    assert "author, " in failure(capsys, "split", file, "--by", "group", "--group", "client")


def test_nothing_to_verify_is_not_a_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not measured" in failure(capsys, "golden", "verify", "--project", tmp_path, code=3)
    assert "the project does not exist" in failure(capsys, "golden", "verify", "--project", tmp_path / "nowhere")


def test_golden_add_list_and_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "questions.jsonl", examples(5, 1))
    added = run(capsys, "golden", "add", file, "--project", tmp_path)
    assert (added["added"], added["items"], added["version"]) == (5, 5, 1)
    assert run(capsys, "golden", "add", file, "--project", tmp_path)["added"] == 0
    assert len(run(capsys, "golden", "list", "--project", tmp_path)["items"]) == 5
    assert run(capsys, "golden", "verify", "--project", tmp_path) == {"ok": True, "items": 5, "faults": []}
    items = tmp_path / "golden" / "0001" / "items.jsonl"
    items.write_bytes(items.read_bytes().replace(b"word1", b"word2", 1))
    assert "items.jsonl is not as it was written" in failure(capsys, "golden", "verify", "--project", tmp_path, code=2)
    assert "not as it was frozen" in failure(capsys, "golden", "add", file, "--project", tmp_path)
    assert "three things" in failure(capsys, "golden", "remove", "--project", tmp_path)
    assert "takes no files" in failure(capsys, "golden", "verify", file, "--project", tmp_path)


@pytest.mark.slow
def test_split_and_golden_killed_twenty_times_give_the_same_bytes(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", examples(300, 2))
    whole, out = tmp_path / "whole" / "out", tmp_path / "killed" / "out"
    verb = ["tunesmith.api.splitting", "tunesmith.cli.verbs.split"]
    killed = kill_at_random(["split", file, "--out", whole], ["split", file, "--out", out], modules=verb)
    assert killed >= 1 and contents(out) == contents(whole) and [p.name for p in out.parent.iterdir()] == ["out"]
    here, there = tmp_path / "a", tmp_path / "b"
    for place in (here, there):
        place.mkdir()
    killed = kill_at_random(
        ["golden", "add", file, "--project", here],
        ["golden", "add", file, "--project", there],
        modules=["tunesmith.api.golden_set", "tunesmith.cli.verbs.golden"],
    )
    assert (
        killed >= 1
        and contents(here) == contents(there)
        and sorted(contents(there))
        == [
            "golden/0001/items.jsonl",
            "golden/0001/manifest.json",
        ]
    )


def test_a_folder_of_writing_is_no_file_of_rows_and_the_hint_says_what_makes_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my posts").mkdir()
    with pytest.raises(SystemExit):
        main(["split", str(tmp_path / "my posts")])
    said = capsys.readouterr().err
    assert "this is a folder, not a file of rows" in said and f"tunesmith build --source '{tmp_path / 'my posts'}'" in said
