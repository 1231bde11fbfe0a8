"""A verb is one file: it is found, listed with its help, and runs, without another file being touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tunesmith.cli import verbs
from tunesmith.cli.main import main, verb_helps

TOY = '''"""Count the rows of a file. Example: tunesmith toy rows.jsonl --json"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json

__all__ = ["command"]


def command(
    file: Annotated[Path, typer.Argument(help="JSON lines.")],
    least: Annotated[int, typer.Option(min=0, help="Rows that it must have.")] = 0,
    json: Json = False,
) -> None:
    """Exit code 2 if there are fewer rows than `--least`."""
    from tunesmith.api.conversion import detect_formats
    from tunesmith.cli.render import print_json

    found = len(detect_formats(file).by_row)
    if json:
        print_json({"rows": found})
    raise SystemExit(0 if found >= least else 2)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One file, in a folder of verbs."""
    file = tmp_path / "verbs" / "toy.py"
    file.parent.mkdir()
    file.write_text(TOY, encoding="utf-8")
    monkeypatch.setattr(verbs, "__path__", [*verbs.__path__, str(file.parent)])
    monkeypatch.delitem(sys.modules, "tunesmith.cli.verbs.toy", raising=False)
    return file


def test_a_verb_added_by_one_file_is_listed_and_explains_itself(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert "  toy       Count the rows of a file.\n" in capsys.readouterr().out
    assert "tunesmith.cli.verbs.toy" not in sys.modules  # listed without being imported
    main(["toy", "--help"])
    said = capsys.readouterr().out
    assert "Usage: tunesmith toy" in said and "--least" in said and "Example:\n    tunesmith toy rows.jsonl" in said


def test_a_verb_added_by_one_file_runs(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n' * 3)
    for least, code in ((3, 0), (4, 2)):
        with pytest.raises(SystemExit) as end:
            main(["toy", str(rows), "--least", str(least), "--json"])
        assert end.value.code == code and capsys.readouterr().out == '{"rows":3}\n'


def test_a_verb_that_does_not_exist_is_answered_with_its_neighbour(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["toi"])
    assert end.value.code == 1 and "toy" in capsys.readouterr().err


def test_every_verb_has_a_file_and_the_first_steps_are_listed_first() -> None:
    names = list(verb_helps())
    assert names[:3] == ["demo", "run", "init"]
    assert {f.stem for f in Path(verbs.__path__[0]).glob("*.py")} - {"__init__"} == set(names)


def test_help_lists_each_verb_once_under_a_heading_and_a_new_one_under_the_last(
    toy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    main(["--help"])
    said = capsys.readouterr().out.split("Start here:")[1]
    headings = [line for line in said.splitlines() if line.endswith(":")]
    assert headings == ["Step by step:", "Your data:", "Proof:", "Experiments:", "Publish:", "Serve:", "More:"]
    listed = [line.split()[0] for line in said.splitlines() if line.startswith("  ")]
    assert sorted(listed) == sorted(verb_helps()) and "toy" in said.split("More:")[1]
    assert "..." not in said and all(len(line) <= 80 for line in said.splitlines())
