"""Train a router that sends foreign questions to the base. Example: tunesmith route train --inside dataset:latest --out mine"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir

__all__ = ["command"]


def command(
    action: Annotated[str, typer.Argument(help="train.")],
    inside: Annotated[str, typer.Option("--inside", help="Dataset or JSON Lines with prompts for the tuned model.")],
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    outside: Annotated[
        list[str] | None,
        typer.Option("--outside", help="JSON Lines with prompts for the base; may be repeated. The packaged general ones."),
    ] = None,
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """The accuracy is measured on texts of documents that neither fitted nor calibrated the router."""
    from tunesmith.api.routing import train_router
    from tunesmith.cli.render import console, print_json, table

    if action != "train":
        raise typer.BadParameter("choose train", param_hint="ACTION")
    found = train_router(inside, out, outside=outside or (), project=project)
    if json:
        print_json(found.as_dict())
        return
    names = {
        "accuracy": "sent to the right model",
        "inside_found": "inside, sent to the tuned model",
        "outside_passed_for_inside": "outside, sent to the tuned model",
        "unsure": "unsure, sent to the base",
        "always_inside": "right if all went to the tuned model",
    }
    rows = []
    for name, label in names.items():
        one = found.figures[name]
        low, high = one["ci"]
        shown = f"{100 * one['value']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        rows.append([label, shown, f"{one['n']} texts of {one['groups']} documents"])
    table("Measured on held-out texts", ["", "share", ""], rows)
    console().print(f"  {found.out}")
