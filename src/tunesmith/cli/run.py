"""`run`, `demo`, and the verbs that stop at one stage."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.api.recipes import find_recipe
from tunesmith.cli.render import ConsoleReporter, console, print_json, table
from tunesmith.core.config import Recipe
from tunesmith.core.recipe_file import recipe_from

if TYPE_CHECKING:
    from tunesmith.api import Plan, Project

__all__ = ["Choice", "demo", "open_recipe", "run", "stage"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line says about which recipe to use and how to change it."""

    project: Path
    recipe: Path | None
    sources: list[str]
    base: str | None
    overrides: list[str]
    allow: list[str]
    allow_private: bool
    offline: bool = False

    def then(self, verb: str) -> str:
        """The command that goes on with the same project and sources, to be pasted."""
        words = ["tunesmith", verb]
        words += ["--project", str(self.project)] if self.project != Path(".") else []
        words += ["--recipe", str(self.recipe)] if self.recipe else []
        words += [word for source in self.sources for word in ("--source", source)]
        return shlex.join(words)


def open_recipe(choice: Choice) -> Recipe:
    """The recipe file with the command line's changes, or a recipe made of `--source` alone."""
    changes = {"sources": choice.sources, "base": choice.base, "allow": choice.allow}
    given = {name: value for name, value in changes.items() if value}
    return find_recipe(given, choice.overrides, project=choice.project, recipe=choice.recipe)


def demo(choice: Choice, *, json: bool) -> None:
    """The whole pipeline on the posts that come with the package: on a real base in minutes, or on the embedded one."""
    from tunesmith.api import EXAMPLES
    from tunesmith.api.bases import AUTO, EMBEDDED

    def recipe(base: str) -> Recipe:
        quality = "good" if base == EMBEDDED else "draft"
        return recipe_from({"sources": [str(EXAMPLES / "posts")], "base": base, "quality": quality}, choice.overrides)

    begin, say = time.perf_counter(), _greeted()
    project = _project(recipe(choice.base or AUTO), choice, say)
    if project.base.name == EMBEDDED:
        project = _project(recipe(EMBEDDED), choice, say)
    _pipeline(project, choice, say, json=json, begin=begin, following="tunesmith run --source YOUR-POSTS")


def run(choice: Choice, *, json: bool) -> None:
    """From the sources to the verdict."""
    recipe, begin, say = open_recipe(choice), time.perf_counter(), _greeted()
    following = replace(choice, sources=[], recipe=None).then("show") + " eval:latest"
    _pipeline(_project(recipe, choice, say), choice, say, json=json, begin=begin, following=following)


def _greeted() -> ConsoleReporter:
    say = ConsoleReporter(console())
    say.greeting(*_machine())
    return say


def _pipeline(project: Project, choice: Choice, say: ConsoleReporter, *, json: bool, begin: float, following: str) -> None:
    from tunesmith.cli import summary

    _ = project.chat  # a base that cannot be used is reported before anything is read
    summary.tell_documents(say, project)
    summary.tell_dataset(say, project)
    summary.tell_plan(say, project)
    summary.tell_run(say, project)
    summary.tell_use(say, project)
    outcome = project.outcome
    summary.tell_evaluation(say, outcome)
    seconds = round(time.perf_counter() - begin, 1)
    summary.tell_verdict(say, outcome, project=choice.project, seconds=seconds, following=following)
    if json:
        print_json(
            {
                "verdict": outcome.verdict.verdict,
                "seconds": seconds,
                "report": str(outcome.evaluation.path / "report.html"),
                "dataset": str(project.dataset.path),
                "run": str(project.run.path),
                "comparison": summary.comparison(outcome),
            }
        )
    sys.exit(outcome.verdict.exit_code)


def _project(recipe: Recipe, choice: Choice, say: ConsoleReporter) -> Project:
    from tunesmith.api import Project

    return Project(recipe, choice.project, reporter=say, allow_private=choice.allow_private, offline=choice.offline)


def stage(name: str, choice: Choice, *, json: bool) -> None:
    """Go as far as one stage."""
    recipe, say = open_recipe(choice), ConsoleReporter(console())
    from tunesmith.cli import summary

    project = _project(recipe, choice, say)
    if name != "documents":
        _ = project.chat  # a base that cannot be used is reported before anything is read
    road = {
        "documents": summary.tell_documents,
        "build": summary.tell_dataset,
        "plan": None,
        "train": summary.tell_run,
        "merge": None,
    }
    for verb, tell in road.items():
        if tell is not None:
            tell(say, project)
        elif verb == "plan" and name not in {"plan", "build"}:
            summary.tell_plan(say, project)
        if verb == name:
            break
    if name == "plan":
        _print_plan(project.plan, json=json)
        return
    artifact = {
        "build": lambda: project.dataset,
        "train": lambda: project.run,
        "merge": lambda: project.model,
    }[name]()
    if not json:
        say.end({"open": summary.folder_or_page(artifact)})
    else:
        print_json({"artifact": str(artifact.path), "id": artifact.id, "numbers": dict(artifact.numbers)})


def _print_plan(plan: Plan, *, json: bool) -> None:
    if json:
        print_json({"lines": [asdict(line) for line in plan.lines], "numbers": dict(plan.numbers)})
    else:
        table("", ["", "", "why"], [[line.name, line.value, line.reason] for line in plan.lines])


def _machine() -> tuple[int, float]:
    from tunesmith.api.hardware import look

    machine = look()
    return machine.cores, machine.free_bytes / 2**30
