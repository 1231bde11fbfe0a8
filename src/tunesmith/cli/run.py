"""`run`, `demo`, `crossfit`, and the verbs that run the pipeline up to one stage."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.api.events import EventLog, page_of
from tunesmith.api.pipeline import PipelineOptions, chain_of, follow
from tunesmith.api.recipes import Recipe, find_recipe, recipe_from
from tunesmith.api.tracking import tracked
from tunesmith.cli import chain
from tunesmith.cli.render import ConsoleReporter, console, print_json, table
from tunesmith.cli.runs import short_setting
from tunesmith.core.reporter import Reporter, SeveralReporters

if TYPE_CHECKING:
    from tunesmith.api import Chain, Plan, Project

__all__ = ["Choice", "audit", "crossfit", "demo", "open_recipe", "run", "stage", "sweep"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which recipe the command line names, and the changes to it."""

    project: Path
    recipe: Path | None
    sources: list[str]
    base: str | None
    overrides: list[str]
    allow: list[str]
    allow_private: bool
    offline: bool = False
    include: Sequence[str] = ()
    stage: str = ""

    def then(self, verb: str) -> str:
        """The next command for the same project and sources, ready to paste."""
        words = ["tunesmith", verb]
        words += ["--project", str(self.project)] if self.project != Path(".") else []
        words += ["--recipe", str(self.recipe)] if self.recipe else []
        words += [word for source in self.sources for word in ("--source", source)]
        words += [word for extra in self.include for word in ("--include", extra)]
        return shlex.join(words)


def open_recipe(choice: Choice) -> Recipe:
    """The recipe file with the command line's changes, or a recipe made of `--source` alone."""
    changes = {"sources": choice.sources, "base": choice.base, "allow": choice.allow}
    given = {name: value for name, value in changes.items() if value}
    return find_recipe(given, choice.overrides, project=choice.project, recipe=choice.recipe, extras=choice.include)


def demo(choice: Choice, *, json: bool) -> None:
    """Run the full pipeline on the bundled sample posts: on a real base in minutes, or on the embedded one."""
    from tunesmith.api import EXAMPLES
    from tunesmith.api.bases import AUTO, EMBEDDED

    def recipe(base: str) -> Recipe:
        quality = "good" if base == EMBEDDED else "draft"
        given: dict[str, Any] = {"sources": [str(EXAMPLES / "posts")], "base": base, "quality": quality}
        if base == EMBEDDED:  # it answers general questions by chance, so that it has nothing to lose
            given["gates"] = {"advisory": ["general"]}
        return recipe_from(given, choice.overrides)

    begin, say, log = time.perf_counter(), _greeted(), EventLog()
    both = SeveralReporters(say, log)
    project = _project(recipe(choice.base or AUTO), choice, both)
    if project.base.name == EMBEDDED:
        project = _project(recipe(EMBEDDED), choice, both)
    _pipeline(project, choice, say, log, json=json, begin=begin, following="tunesmith run --source YOUR-POSTS")


def run(choice: Choice, *, json: bool) -> None:
    """From the sources to the verdict; of a recipe with stages, all of them unless one is named."""
    recipe, begin, say, log = open_recipe(choice), time.perf_counter(), _greeted(), EventLog()
    if recipe.stages:
        opened = _chain(recipe, choice, SeveralReporters(say, log))
        chain.run(opened, say, project=choice.project, stage=choice.stage, json=json, begin=begin)
    following = replace(choice, sources=[], recipe=None).then("show") + " eval:latest"
    project = _project(recipe, choice, SeveralReporters(say, log))
    _pipeline(project, choice, say, log, json=json, begin=begin, following=following)


def crossfit(choice: Choice, *, folds: int, seeds: int, json: bool) -> None:
    """An adapter for each fold and seed, to one verdict about the recipe."""
    from tunesmith.api.pipeline import cross_fit

    recipe, begin, say, log = open_recipe(choice), time.perf_counter(), _greeted(), EventLog()
    found = cross_fit(_project(recipe, choice, SeveralReporters(say, log)), folds=folds, seeds=seeds)
    seconds = round(time.perf_counter() - begin, 1)
    following = replace(choice, sources=[], recipe=None).then("verdict") + " crossfit:latest --verify"
    say.end({"open": log.verdict.report, "next": following, "took": f"{seconds:.0f} s"})
    if json:
        print_json({**found.as_dict(), "seconds": seconds})
    sys.exit(found.verdict.exit_code)


def sweep(choice: Choice, *, vary: Sequence[str], trials: int, seed: int, out: Path | None, json: bool) -> None:
    """Try other settings, and say which recipe to run."""
    from tunesmith.api.sweeps import sweep_open

    given = {name: text for name, _, text in (one.partition("=") for one in vary)}
    project = _project(open_recipe(choice), choice, ConsoleReporter(console()))
    found = sweep_open(project, vary=given, trials=trials, seed=seed, out=out)
    if json:
        print_json(found.as_dict())
        return
    best = found.best.number if found.best else -1
    rows = [
        [
            f"{one.number}{' best' if one.number == best else ''}",
            one.state,
            "" if one.loss is None else f"{one.loss:.4f}",
            str(one.validations),
            one.run[:8],
            one.note or ", ".join(short_setting(name, value) for name, value in one.settings.items()),
        ]
        for one in sorted(found.trials, key=lambda one: (one.loss is None, one.loss or 0.0, one.number))
    ]
    table("", ["trial", "", "val loss", "validations", "run", "settings"], rows)
    where = "" if choice.project == Path(".") else f" --project {choice.project}"
    console().print(f"\nnext  tunesmith run --recipe {shlex.quote(found.recipe)}{where}")


def audit(choice: Choice, *, adapter: Path | None, model: str, url: str, model_name: str, suite: str, json: bool) -> None:
    """Judge a model that was trained elsewhere."""
    from tunesmith.api.auditing import audit_project

    recipe, begin, say, log = open_recipe(choice), time.perf_counter(), _greeted(), EventLog()
    project = _project(recipe, choice, SeveralReporters(say, log))
    found = audit_project(project, adapter=adapter, model=model, url=url, model_name=model_name, suite=suite)
    seconds = round(time.perf_counter() - begin, 1)
    report = log.verdict.report
    say.end({"open": report, "verify": "tunesmith verdict audit:latest --verify", "took": f"{seconds:.0f} s"})
    if json:
        print_json({**found.as_dict(), "seconds": seconds})
    sys.exit(found.verdict.exit_code)


def _greeted() -> ConsoleReporter:
    say = ConsoleReporter(console())
    say.greeting(*_machine())
    return say


def _pipeline(
    project: Project, choice: Choice, say: ConsoleReporter, log: EventLog, *, json: bool, begin: float, following: str
) -> None:
    follow(project)
    seconds = round(time.perf_counter() - begin, 1)
    verdict, outcome, kind = log.verdict, project.outcome, project.outcome.evaluation.kind
    where = "" if choice.project == Path(".") else f" --project {choice.project}"
    talk = {"try": f"tunesmith chat{where}"} if kind == "eval" else {}
    following = following.replace("eval:latest", f"{kind}:latest")
    say.end({"open": verdict.report, **talk, "next": following, "took": f"{seconds:.0f} s"})
    if json:
        print_json(
            {
                **outcome.as_dict(),
                "seconds": seconds,
                "dataset": log.done("dataset").path,
                "run": log.done("run").path,
            }
        )
    sys.exit(outcome.verdict.exit_code)


def _project(recipe: Recipe, choice: Choice, reporter: Reporter) -> Project:
    from tunesmith.api import Project

    if choice.stage:
        _chain(recipe, choice, reporter)  # which a recipe without stages is not
    both = tracked(recipe, choice.project, reporter)
    return Project(recipe, choice.project, reporter=both, allow_private=choice.allow_private, offline=choice.offline)


def _chain(recipe: Recipe, choice: Choice, reporter: Reporter) -> Chain:
    web: PipelineOptions = {"allow_private": choice.allow_private, "offline": choice.offline}
    return chain_of(recipe, {"project": choice.project, "reporter": reporter, **web})


_LAST = {"build": "dataset", "plan": "dataset", "train": "run", "merge": "model"}


def stage(name: str, choice: Choice, *, json: bool) -> None:
    """Run the pipeline up to the stage of a verb."""
    recipe, say, log = open_recipe(choice), ConsoleReporter(console()), EventLog()
    if recipe.stages:
        opened = _chain(recipe, choice, SeveralReporters(say, log))
        chain.step(opened, say, name, _LAST[name], stage=choice.stage, json=json)
        return
    project = _project(recipe, choice, SeveralReporters(say, log))
    follow(project, until=_LAST[name])
    if name == "plan":
        _print_plan(project.plan, json=json)
        return
    done = log.done(_LAST[name])
    if not json:
        say.end({"open": page_of(done.path)})
    else:
        print_json({"artifact": done.path, "id": done.id, "numbers": dict(done.numbers)})


def _print_plan(plan: Plan, *, json: bool) -> None:
    if json:
        print_json(plan.as_dict())
    else:
        table("", ["", "", "why"], [[line.name, line.value, line.reason] for line in plan.lines])


def _machine() -> tuple[int, float]:
    from tunesmith.api.hardware import measure_hardware

    machine = measure_hardware()
    return machine.cores, machine.free_bytes / 2**30
