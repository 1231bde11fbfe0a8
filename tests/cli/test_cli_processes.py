"""`tunesmith train --processes`: what is begun in each process, and what is refused."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from tunesmith import launch
from tunesmith.api import processes as processes_module
from tunesmith.cli.launching import training_command
from tunesmith.cli.main import main
from tunesmith.cli.options import stage_command
from tunesmith.core.errors import TrainingError


def test_each_process_gets_the_command_without_the_options_that_begin_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []

    def launched(words: list[str], **how: Any) -> int:
        begun.append((words, how))
        return 2

    monkeypatch.setattr(processes_module, "launch", launched)
    typed = ["train", "--processes", "2", "--project", "p", "--set", "train.epochs=3", "--set", "seed=1", "--json"]
    with pytest.raises(SystemExit) as ended:
        main(typed)
    assert ended.value.code == 2
    words = ["train", "--project", "p", "--set", "train.epochs=3", "--set", "seed=1", "--json"]
    assert begun == [(words, {"processes": 2, "nodes": 1, "rendezvous": ""})]


def test_one_process_is_not_launched(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(processes_module, "launch", lambda *words, **how: pytest.fail("launched"))
    with pytest.raises(SystemExit) as ended:
        main(["train", "--processes", "1", "--recipe", "not-there.yaml"])
    assert ended.value.code == 1
    assert "not-there.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "how", [{"processes": 0}, {"processes": 2, "nodes": 2}, {"processes": 2, "rendezvous": "a:1"}, {"processes": 2, "nodes": 0}]
)
def test_processes_that_cannot_meet_are_refused(how: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="cannot be started") as error:
        launch(["train"], **how)
    assert "--processes 2" in error.value.problems[0].hint


def test_more_processes_than_the_machine_has_room_for_are_refused() -> None:
    with pytest.raises(TrainingError, match="more processes than") as error:
        launch(["train"], processes=100_000)
    assert re.fullmatch(r"--processes \d+", error.value.problems[0].hint)


def test_every_option_of_a_stage_reaches_the_processes() -> None:
    """Planted by whoever adds an option to one of the two alone."""
    plain = inspect.signature(stage_command("train")).parameters
    several = inspect.signature(training_command("train")).parameters
    assert [*several] == [*plain, "processes", "nodes", "rendezvous"]
    assert [one.annotation for one in several.values()][: len(plain)] == [one.annotation for one in plain.values()]
