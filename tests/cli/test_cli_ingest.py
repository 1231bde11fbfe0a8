"""`tunesmith ingest`: sources by position, one JSON object, everything else on stderr."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tunesmith.cli.main import main

Captured = pytest.CaptureFixture[str]


def posts(folder: Path) -> Path:
    folder.mkdir()
    (folder / "rain.md").write_text("---\ntitle: Rain\nauthor: Ada\ndate: 2023-04-11\nlicense: CC0\n---\nIt rained.")
    (folder / "empty.md").write_text("")
    return folder


def run(*arguments: str) -> int:
    try:
        main(arguments)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_the_contract_for_scripts_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.chdir(tmp_path)
    posts(tmp_path / "posts")
    (tmp_path / "note.txt").write_text("A note.")
    assert run("ingest", "posts", "note.txt", "--json") == 0
    out = capsys.readouterr().out
    found = orjson.loads(out)
    assert out.count("\n") == 1 and list(found) == ["documents", "failed", "artifact"]
    assert found["documents"] == 2 and found["failed"] == [{"source": "empty.md", "reason": "it is empty"}]
    rows = [orjson.loads(line) for line in (Path(found["artifact"]) / "documents.jsonl").read_bytes().splitlines()]
    assert {"id", "text", "source", "url", "title", "author", "date", "license", "sha256"} <= rows[0].keys()
    assert rows[0]["author"] == "Ada" and rows[0]["license"] == "CC0" and rows[1]["text"] == "A note."


def test_the_option_does_the_same_and_the_second_time_nothing_is_done(tmp_path: Path, capsys: Captured) -> None:
    folder = str(posts(tmp_path / "posts"))
    found = []
    for arguments in ((folder,), ("--source", folder), (folder,)):
        assert run("ingest", *arguments, "--json", "--project", str(tmp_path)) == 0
        found.append(orjson.loads(capsys.readouterr().out))
    assert found[0] == found[1] == found[2]


def test_sources_of_a_recipe_are_read_where_none_is_named(tmp_path: Path, capsys: Captured) -> None:
    posts(tmp_path / "posts")
    (tmp_path / "tunesmith.yaml").write_text(f"sources: [{tmp_path / 'posts'}]\n")
    assert run("ingest", "--json", "--project", str(tmp_path)) == 0
    assert orjson.loads(capsys.readouterr().out)["documents"] == 1


def conversation() -> str:
    said = [{"sender": "human", "text": "Why do clocks stop?"}, {"sender": "assistant", "text": "Because nobody winds them."}]
    return orjson.dumps([{"uuid": "u", "name": "Clocks", "chat_messages": said}]).decode()


def test_what_is_left_out_by_default_is_taken_when_asked_for(tmp_path: Path, capsys: Captured) -> None:
    folder = posts(tmp_path / "posts")
    (folder / "conversations.json").write_text(conversation())
    (tmp_path / "tunesmith.yaml").write_text(f"sources: [{folder}]\ningest:\n  extras: [quotations]\n")
    for arguments, pairs in (([], 0), (["--include", "model-answers"], 1)):
        assert run("ingest", "--json", "--project", str(tmp_path), *arguments) == 0
        said = capsys.readouterr()
        found = Path(orjson.loads(said.out)["artifact"])
        assert len((found / "pairs.jsonl").read_bytes().splitlines()) == pairs
        assert ("you learn the style of that model" in said.err) == bool(pairs)
        policy = orjson.loads((found / "manifest.json").read_bytes())["settings"]["policy"]
        assert policy["extras"] == ["quotations", *arguments[1:]]


def test_an_unknown_word_to_include_is_an_error_with_the_nearest_one(tmp_path: Path, capsys: Captured) -> None:
    folder = str(posts(tmp_path / "posts"))
    assert run("ingest", folder, "--include", "model-answer", "--project", str(tmp_path)) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "unknown word for --include: 'model-answer'" in said and "hint: --include model-answers" in said
    assert "expected model-answers, quotations, replies" in said


def test_a_missing_source_is_an_error_and_stdout_stays_empty(tmp_path: Path, capsys: Captured) -> None:
    assert run("ingest", str(tmp_path / "nowhere"), "--json", "--project", str(tmp_path)) == 1
    said = capsys.readouterr()
    assert said.out == "" and "source not found" in said.err and "hint:" in said.err


def test_a_near_miss_is_answered_with_the_command_as_it_was_typed(tmp_path: Path, capsys: Captured) -> None:
    """Another verb, or another file, in a hint would do something else than what was wanted."""
    posts(tmp_path / "my posts")
    assert run("golden", "add", str(tmp_path / "my post"), "--project", str(tmp_path)) == 1
    hint = capsys.readouterr().err.splitlines()[-1]
    assert hint == f"hint:  tunesmith golden add '{tmp_path / 'my posts'}' --project {tmp_path}"


@pytest.mark.parametrize(
    "command", [["review"], ["convert", "--to", "messages"], ["check", "--redact"], ["synth", "score"]], ids=lambda c: c[0]
)
@pytest.mark.parametrize("out", ["rows.jsonl", "folder"])
def test_what_is_read_is_never_written_over_nor_a_folder_taken_for_a_file(
    command: list[str], out: str, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "folder").mkdir()
    rows = tmp_path / "rows.jsonl"
    before = b'{"prompt": "Why?", "completion": "Because."}\n'
    rows.write_bytes(before)
    verb, *rest = command
    kind, options = (rest[:1], rest[1:]) if verb == "synth" else ([], rest)
    where = ["--project", str(tmp_path)] if verb == "synth" else []
    assert run(verb, *kind, str(rows), *options, *where, "--out", str(tmp_path / out)) == 1
    assert rows.read_bytes() == before
    assert ("is a folder" if out == "folder" else "the file that is read") in capsys.readouterr().err


def test_what_could_not_be_used_is_told_and_all_of_it_is_listed(tmp_path: Path, capsys: Captured) -> None:
    folder = posts(tmp_path / "posts")
    for number in range(9):
        (folder / f"{number}.rtf").write_bytes(b"{}")
    assert run("ingest", str(folder), "--project", str(tmp_path)) == 0
    said = capsys.readouterr()
    assert said.out == "" and "10 could not be used" in said.err and "and 4 more, listed in" in said.err
    (listed,) = (tmp_path / ".tunesmith").rglob("failures.jsonl")
    assert len(listed.read_bytes().splitlines()) == 10
