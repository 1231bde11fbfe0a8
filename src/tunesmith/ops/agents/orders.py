"""What an agent may order, and how: a plan gives a confirmation that starts one job, once, if nothing has changed since.

A job is the command line in a process of its own, so that an agent gets what a person gets: the same checks, gates and marks.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.errors import BlockedError, Problem, RecipeError, TrainingError
from tunesmith.core.files import make_folders
from tunesmith.core.records import digest
from tunesmith.pipeline.recipe import Recipe
from tunesmith.pipeline.recipe_file import load_recipe

__all__ = ["Desk", "Job", "overrides_of", "refuse_for_agents"]

_LASTS_S = 3600.0
_TAIL_BYTES = 3000
_OF_PEOPLE = ("sources", "me", "authors", "ingest", "fetch", "generator", "bigger", "tracking", "allow", "base", "stages")
_SINGLE = ("method.from", "mix.general", "eval.suites", "train.backend")


@dataclass(slots=True)
class Job:
    """A command that runs, or has run: its words, its output, and its exit code once it has ended."""

    id: str
    words: list[str]
    folder: Path
    process: subprocess.Popen[bytes]

    def as_dict(self) -> dict[str, Any]:
        """State, the end of what was printed, and the result of a finished command."""
        code = self.process.poll()
        said = (self.folder / "messages").read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        result = None
        lines = (self.folder / "result").read_bytes().strip().splitlines()
        if code is not None and lines and lines[-1].startswith(b"{"):
            result = orjson.loads(lines[-1])
        state = "running" if code is None else "finished"
        return {"job": self.id, "state": state, "exit_code": code, "messages": said, "result": result}


@dataclass(slots=True)
class Desk:
    """The confirmations that are out, and the jobs of this server, for one project."""

    project: Path
    confirmations: dict[str, tuple[float, str]] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)

    def recipe(self, settings: Mapping[str, Any]) -> Recipe:
        """The project's recipe with the settings that an agent may change. RecipeError for anything else."""
        refuse_for_agents(settings)
        return load_recipe(self.project / "tunesmith.yaml", overrides_of(settings))

    def confirm(self, words: Sequence[str]) -> str:
        """A confirmation for a command: good once, for an hour, while recipe and words stay the same."""
        token = secrets.token_urlsafe(12)
        self.confirmations[token] = (time.monotonic(), self._state(words))
        return token

    def start(self, words: Sequence[str], confirmation: str) -> Job:
        """Begin the command that was confirmed. The confirmation is used up even if this fails.

        BlockedError without a valid confirmation. TrainingError while another job runs.
        """
        made, state = self.confirmations.pop(confirmation, (float("-inf"), ""))
        if not state or time.monotonic() - made > _LASTS_S or state != self._state(words):
            raise BlockedError(
                "this needs a confirmation" if not confirmation else "this confirmation does not hold",
                name="confirmation",
                value=confirmation or "none",
                expected="the confirmation of a plan of the same settings and recipe, used for the first time within an hour",
                hint="call plan again (audit: call audit without a confirmation), show its result to your user, then confirm",
            )
        if busy := [job for job in self.jobs.values() if job.process.poll() is None]:
            raise TrainingError(
                "another job is running",
                value=busy[0].id,
                expected="one job at a time",
                hint="call status until it ends",
            )
        id = secrets.token_hex(4)
        folder = self.project / ".tunesmith" / "jobs" / id
        make_folders(folder)
        with (folder / "result").open("wb") as result, (folder / "messages").open("wb") as messages:
            command = [sys.executable, "-m", "tunesmith.cli", *words, "--project", str(self.project), "--json"]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=result, stderr=messages)
        self.jobs[id] = Job(id, list(words), folder, process)
        return self.jobs[id]

    def job(self, id: str) -> Job:
        """A job of this server by its id, or the newest. TrainingError if there is none."""
        found = self.jobs.get(id) if id else next(reversed(self.jobs.values()), None)
        if found is None:
            known = ", ".join(self.jobs) or "none yet"
            raise TrainingError("no such job", value=id, expected=f"one of: {known}", hint="call plan, then run")
        return found

    def _state(self, words: Sequence[str]) -> str:
        file = self.project / "tunesmith.yaml"
        return digest(*words, file.read_text(encoding="utf-8") if file.exists() else "")


def overrides_of(settings: Mapping[str, Any]) -> list[str]:
    """Settings by name as the overrides that `--set` takes."""
    return [f"{name}={orjson.dumps(value).decode()}" for name, value in settings.items()]


def refuse_for_agents(settings: Mapping[str, Any]) -> None:
    """RecipeError for settings that only a person changes: what is read, where things are sent, and what is let through."""
    wrong = [name for name in settings if name.split(".")[0] in _OF_PEOPLE or name in _SINGLE]
    if wrong:
        raise RecipeError(
            [
                Problem(
                    what="an agent cannot change this setting",
                    value=name,
                    expected="settings of build, split, method, objective, train, merge, use, eval or gates",
                    hint="ask your user to edit tunesmith.yaml",
                )
                for name in wrong
            ]
        )
