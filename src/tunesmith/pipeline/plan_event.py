"""The plan in words."""

from __future__ import annotations

from tunesmith.core.reporter import Line, PlanMade
from tunesmith.models.load import BaseFolder
from tunesmith.models.precision import Precision
from tunesmith.pipeline.plan import Plan

__all__ = ["plan_event"]


def plan_event(plan: Plan, *, base: BaseFolder, method: str, rank: int, precision: Precision) -> PlanMade:
    """The event that reports what will be trained, how long it takes, and the precision with its reason."""
    lines = {line.name: line for line in plan.lines}
    moves = lines["weights"].value if "weights" in lines else f"{method} rank {rank} on {lines['reach'].value}"
    shown = [
        Line(moves),
        Line(f"at most {lines['steps'].value} steps, {lines['time'].value}, {lines['memory'].value}"),
        Line(f"{precision.name} base: {lines['precision'].reason}"),
    ]
    if shorter := lines.get("shorter"):
        shown.append(Line(f"{shorter.value} {shorter.reason}"))
    if few_documents := plan.numbers["few_documents"]:
        what = f"{few_documents} test documents are too few for a verdict by the rules of this recipe"
        shown.append(Line(f"{what}; `tunesmith crossfit` tests each document once", "warning"))
    if plan.numbers["busy"]:
        shown.append(Line("the machine is busy, so times are rough estimates", "warning"))
    origin = f", {base.origin}" if base.origin else ""
    return PlanMade(title="plan", numbers=plan.numbers, text=f"base {base.name}{origin}", lines=tuple(shown))
