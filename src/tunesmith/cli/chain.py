"""`run`, `plan` and the verbs of single steps for a recipe with stages."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tunesmith.api.events import page_of
from tunesmith.cli.render import ConsoleReporter, print_json, table

if TYPE_CHECKING:
    from tunesmith.api import Chain, ChainOutcome, Plan

__all__ = ["run", "step"]


def run(chain: Chain, say: ConsoleReporter, *, project: Path, stage: str, json: bool, begin: float) -> NoReturn:
    """All stages to the verdict on the whole chain; or as far as the `stage` that is named, to its verdict."""
    where = "" if project == Path(".") else f" --project {project}"
    if stage:
        chain.prepare(stage)
        found = chain.result(stage).outcome
        seconds = round(time.perf_counter() - begin, 1)
        page = page_of(found.evaluation.path)
        say.end({"open": page, "try": f"tunesmith chat{where} --run run:{stage}", "took": f"{seconds:.0f} s"})
        if json:
            print_json({**found.verdict.as_dict(), "stage": stage, "seconds": seconds, "report": page})
        sys.exit(found.verdict.exit_code)
    outcome = chain.outcome
    seconds = round(time.perf_counter() - begin, 1)
    page = page_of(outcome.page.path)
    say.end(_lines(outcome))
    for line in outcome.advice:
        say.warn(line)
    end = {"open": page, "try": f"tunesmith chat{where}", "next": f"tunesmith verdict chain:latest{where}"}
    say.end({**end, "took": f"{seconds:.0f} s"})
    if json:
        print_json({**outcome.as_dict(), "seconds": seconds, "report": page})
    sys.exit(outcome.verdict.exit_code)


def _lines(outcome: ChainOutcome) -> dict[str, str]:
    """A line for each stage."""
    then = {"keep": ", kept", "skip": ", left out: the next stage began where it began", "stop": ", and the chain ends here"}
    lines = {
        one.name: f"{one.outcome.verdict.verdict} against {one.shown_began}{'' if one.helped else then[one.then]}"
        for one in outcome.stages
    }
    return lines | dict.fromkeys(outcome.left_out, "skipped by the recipe")


def step(chain: Chain, say: ConsoleReporter, verb: str, kind: str, *, stage: str, json: bool) -> None:
    """One verb, as far as the artifact `kind`, for the `stage` that is named or the last; `plan` without one is about all."""
    if verb == "plan":
        chain.prepare(stage, planned=False)
        _print_plans({stage: chain.stage(stage).project.plan} if stage else chain.plans, json=json)
        return
    made, name = chain.make(kind, stage), chain.stage(stage).name
    if json:
        print_json({"stage": name, **made.as_dict()})
    else:
        say.end({"open": page_of(made.path)})


def _print_plans(plans: dict[str, Plan], *, json: bool) -> None:
    """The lines of every stage, and what they take together."""
    seconds = sum(plan.numbers["total_seconds"] for plan in plans.values())
    memory = max(plan.numbers["memory_bytes"] for plan in plans.values())
    if json:
        stages = [{"name": name, **plan.as_dict()} for name, plan in plans.items()]
        print_json({"stages": stages, "total_seconds": round(seconds, 1), "memory_bytes": memory})
        return
    for name, plan in plans.items():
        table(f"stage {name}", ["", "", "why"], [[line.name, line.value, line.reason] for line in plan.lines])
    if len(plans) > 1:
        total = f"≈ {seconds / 60:.0f} min" if seconds >= 90 else f"≈ {seconds:.0f} s"
        reason = "sum of the times, largest of the memories; comparing the whole chain with the base comes on top"
        table("all stages", ["", "", "why"], [["together", f"{total}, {memory / 2**30:.1f} GiB", reason]])
