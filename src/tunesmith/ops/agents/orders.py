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
from tunesmith.ops.runs.facts import flat
from tunesmith.ops.runs.row import is_held
from tunesmith.pipeline.recipe import Recipe
from tunesmith.pipeline.recipe_file import load_recipe

__all__ = ["Desk", "Job", "overrides_of"]

_LASTS_S = 3600.0
_TAIL_BYTES = 3000
_HOLDER = "holder"  # the file in a job's folder that names its process
_OF_AGENTS = ("build", "eval", "gates", "merge", "method", "mix", "objective", "quality", "split", "template", "train", "use")
_OF_PEOPLE = {
    *("build.semantic", "eval.suites", "method.from", "mix.general", "train.backend"),  # files, folders and servers
    *("objective.file", "objective.rewards", "objective.teacher"),  # rewards may be code, or an address
}


@dataclass(slots=True)
class Job:
    """A command that runs, or has run. `process`: None if an earlier server of this project began it."""

    id: str
    folder: Path
    process: subprocess.Popen[bytes] | None

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return is_held(self.folder / _HOLDER) if self.process is None else self.process.poll() is None

    def as_dict(self) -> dict[str, Any]:
        """State, the end of what was printed, and the result of a finished command. The exit code is None where it is not
        known: of a job that runs, and of one that ended under another server."""
        runs = self.runs
        said = (self.folder / "messages").read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        lines = (self.folder / "result").read_bytes().strip().splitlines()
        result = orjson.loads(lines[-1]) if not runs and lines and lines[-1].startswith(b"{") else None
        code = None if runs or self.process is None else self.process.returncode
        state = "running" if runs else "finished"
        return {"job": self.id, "state": state, "exit_code": code, "messages": said, "result": result}


@dataclass(slots=True)
class Desk:
    """The confirmations that are out, and the jobs of one project, also those that an earlier server began."""

    project: Path
    confirmations: dict[str, tuple[float, str]] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)

    def recipe(self, settings: Mapping[str, Any]) -> Recipe:
        """The project's recipe with the settings that an agent may change. RecipeError for anything else.

        What counts is what differs in the recipe, however the setting was spelt.
        """
        file = self.project / "tunesmith.yaml"
        changed = load_recipe(file, overrides_of(settings))
        _refuse(load_recipe(file), changed)
        return changed

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
        if busy := [job for job in self._known() if job.runs]:
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
        (folder / _HOLDER).write_text(str(process.pid), encoding="utf-8")
        self.jobs[id] = Job(id, folder, process)
        return self.jobs[id]

    def job(self, id: str) -> Job:
        """A job of this project by its id, or the newest. TrainingError if there is none."""
        jobs = self._known()
        found = next((job for job in reversed(jobs) if id in ("", job.id)), None)
        if found is None:
            known = ", ".join(job.id for job in jobs) or "none yet"
            raise TrainingError("no such job", value=id, expected=f"one of: {known}", hint="call plan, then run")
        return found

    def _known(self) -> list[Job]:
        """All jobs, the newest last."""
        holders = sorted(self.project.glob(f".tunesmith/jobs/*/{_HOLDER}"), key=lambda one: one.stat().st_mtime_ns)
        return [self.jobs.get(one.parent.name) or Job(one.parent.name, one.parent, None) for one in holders]

    def _state(self, words: Sequence[str]) -> str:
        file = self.project / "tunesmith.yaml"
        return digest(*words, file.read_text(encoding="utf-8") if file.exists() else "")


def overrides_of(settings: Mapping[str, Any]) -> list[str]:
    """Settings by name as the overrides that `--set` takes."""
    return [f"{name}={orjson.dumps(value).decode()}" for name, value in settings.items()]


def _refuse(before: Recipe, after: Recipe) -> None:
    """RecipeError for settings that only a person changes: what is read or run, where things are sent, what is let through."""
    old, new = (flat(one.model_dump(by_alias=True, mode="json")) for one in (before, after))
    changed = [name for name in {**old, **new} if (old.get(name) or None) != (new.get(name) or None)]
    if wrong := [name for name in changed if name.split(".")[0] not in _OF_AGENTS or name in _OF_PEOPLE]:
        raise RecipeError(
            [
                Problem(
                    what="an agent cannot change this setting",
                    value=name,
                    expected=f"settings of {', '.join(_OF_AGENTS)}, except {', '.join(sorted(_OF_PEOPLE))}",
                    hint="ask your user to edit tunesmith.yaml",
                )
                for name in wrong
            ]
        )
