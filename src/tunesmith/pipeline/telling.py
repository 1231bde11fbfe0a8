"""The plan in words."""

from __future__ import annotations

from tunesmith.core.reporter import Line, PlanMade
from tunesmith.models.load import BaseFolder
from tunesmith.models.precision import Precision
from tunesmith.plan.plan import Plan

__all__ = ["plan_event"]


def plan_event(plan: Plan, *, base: BaseFolder, method: str, rank: int, precision: Precision) -> PlanMade:
    """What is about to be trained, how long it takes, and why in this precision."""
    lines = {line.name: line for line in plan.lines}
    told = [
        Line(f"{method} rank {rank} on {lines['reach'].value}"),
        Line(f"{lines['steps'].value} steps at most, {lines['time'].value}, {lines['memory'].value}"),
        Line(f"{precision.name} base: {lines['precision'].reason}"),
    ]
    if plan.numbers["busy"]:
        told.append(Line("busy machine: times are estimates", "warning"))
    origin = f", {base.origin}" if base.origin else ""
    return PlanMade(title="plan", numbers=plan.numbers, text=f"base {base.name}{origin}", lines=tuple(told))
