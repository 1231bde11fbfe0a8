"""Show how the arms of a split do, or give them other weights. Example: tunesmith ab status --json"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir, refuse_without_effect

if TYPE_CHECKING:
    from tunesmith.api.traffic import AbStatus

__all__ = ["command"]

_TAKES = {"status": ("project", "database"), "set": ("weights", "url")}


def command(
    context: typer.Context,
    action: Annotated[str, typer.Argument(help="status, or set.")],
    name: Annotated[str, typer.Argument(help="Name of the split; needed if there are several.")] = "",
    weights: Annotated[list[str] | None, typer.Argument(help="For set: ARM=WEIGHT of each arm, the control first.")] = None,
    url: Annotated[str, typer.Option(help="For set: address of the running server.")] = "http://127.0.0.1:8000",
    project: ProjectDir = Path("."),
    database: Annotated[str, typer.Option(help="Database of the server; by default that of the project.")] = "",
    json: Json = False,
) -> None:
    """`status` may be read as often as you like: its intervals and its decision hold at all times together."""
    from tunesmith.api.traffic import ab_set, ab_status
    from tunesmith.cli.render import print_json

    if action not in _TAKES:
        raise typer.BadParameter("choose status or set", param_hint="ACTION")
    refuse_without_effect(context, action, _TAKES)
    if action == "status":
        found = ab_status(name, project=project, database=database)
        if json:
            print_json(found.as_dict())
        else:
            _print(found)
    else:
        now = ab_set(name, _weights(weights or []), url=url)
        if json:
            print_json({"name": name, "arms": now})
        else:
            sys.stdout.write(f"  {name}: " + ", ".join(f"{arm} {weight:g}" for arm, weight in now.items()) + "\n")


def _weights(words: list[str]) -> dict[str, float]:
    found = {}
    for word in words:
        arm, equals, weight = word.rpartition("=")
        try:
            found[arm] = float(weight)
        except ValueError as error:
            raise typer.BadParameter(f"{word}: say ARM=WEIGHT, such as tuned=90", param_hint="WEIGHTS") from error
        if not equals:
            raise typer.BadParameter(f"{word}: say ARM=WEIGHT, such as tuned=90", param_hint="WEIGHTS")
    if not found:
        raise typer.BadParameter("give each arm a weight: tunesmith ab set NAME base=10 tuned=90", param_hint="WEIGHTS")
    return found


def _print(found: AbStatus) -> None:
    from tunesmith.cli.render import console, table

    rows = [
        [
            arm.name,
            f"{arm.weight:g}",
            str(arm.answers),
            str(arm.failed),
            str(arm.n),
            "not measured" if arm.score is None or arm.ci is None else f"{arm.score:.3f} [{arm.ci[0]:.3f}, {arm.ci[1]:.3f}]",
        ]
        for arm in found.status.arms
    ]
    table(found.status.name, ["arm", "weight", "answers", "failed", "users with a value", "score"], rows)
    console().print(f"  {found.status.why}")
