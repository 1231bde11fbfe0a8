"""An option that the action would ignore is refused, for every verb with actions."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import typer

from tunesmith.cli.main import main

WORDS = [
    ("arena", "--id", "3f9c"),
    ("arena", "--json"),
    ("arena", "results", "--system", "base"),
    ("arena", "export", "--voter", "anna"),
    ("runs", "--to", "mlflow"),
    ("runs", "recommend", "--sort", "loss"),
    ("runs", "compare", "3f9c", "41ab", "--filter", "rank=4"),
    ("judge", "calibrate", "x.jsonl", "--out", "judged.jsonl"),
    ("judge", "calibrate", "x.jsonl", "--set", "judge.again=0"),
    ("judge", "compare", "a.jsonl", "b.jsonl", "--judge", "smollm2", "--family", "llama"),
    ("judge", "grade", "a.jsonl", "--judge", "smollm2", "--labels", "l.jsonl"),
    ("ab", "status", "--url", "http://127.0.0.1:8000"),
    ("ab", "set", "mine", "base=10", "tuned=90", "--database", "traffic.db"),
    ("feedback", "export", "--out", "rows.jsonl", "--user", "anna"),
    ("feedback", "forget", "--user", "anna", "--as", "sft"),
]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_an_option_without_effect_is_refused_by_its_name(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = capsys.readouterr().err
    option = next(word for word in words[::-1] if word.startswith("--"))
    assert ended.value.code == 1 and f"'{option}'" in said and "it has no effect with" in said and "hint:" in said


@pytest.mark.parametrize("verb", ["ab", "arena", "feedback", "judge", "runs"])
def test_every_option_that_an_action_names_is_one_of_the_verb(verb: str) -> None:
    of = importlib.import_module(f"tunesmith.cli.verbs.{verb}")
    app = typer.Typer()
    app.command()(of.command)
    known = {parameter.name for parameter in typer.main.get_command(app).params}
    takes = getattr(of, "_OPTIONS", None) or of._TAKES
    assert known >= {name for names in takes.values() for name in names}


def test_a_word_without_effect_is_refused_too(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["ab", "status", "mine", "tuned=90"], ["golden", "list", "questions.jsonl"]):
        with pytest.raises(SystemExit):
            main(words)
        assert "hint:" in capsys.readouterr().err


def test_a_folder_in_place_of_an_action_is_answered_with_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["runs", str(tmp_path)])
    assert f"tunesmith runs --project {tmp_path}" in capsys.readouterr().err
