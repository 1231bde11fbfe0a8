"""Export or erase what people said of served answers. Example: tunesmith feedback export --as sft --out corrections.jsonl"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from tunesmith.cli.options import Json, ProjectDir, refuse_without_effect

__all__ = ["command"]

_TAKES = {"export": ("form", "out", "since"), "forget": ("user", "since")}


def command(  # noqa: PLR0913 (the options of a verb)
    context: typer.Context,
    action: Annotated[str, typer.Argument(help="export or forget.")],
    form: Annotated[str, typer.Option("--as", help="Rows to write: sft, preference, labels or shadows.")] = "sft",
    out: Annotated[Path | None, typer.Option("--out", help="JSON Lines file to write.")] = None,
    user: Annotated[str, typer.Option("--user", help="Forget this user's answers and what was said of them.")] = "",
    since: Annotated[str, typer.Option("--since", help="From this date or time on, in UTC.")] = "",
    project: ProjectDir = Path("."),
    database: Annotated[str, typer.Option(help="Database of the server; by default that of the project.")] = "",
    json: Json = False,
) -> None:
    """The JSON object is a contract (docs/reference/scripting.md)."""
    from tunesmith.api.feedback import export_feedback, forget_feedback
    from tunesmith.cli.render import print_json

    if action not in _TAKES:
        raise typer.BadParameter("choose export or forget", param_hint="ACTION")
    refuse_without_effect(context, action, _TAKES)
    if action == "export":
        if form not in ("sft", "preference", "labels", "shadows"):
            raise typer.BadParameter("choose sft, preference, labels or shadows", param_hint="--as")
        if out is None:
            raise typer.BadParameter("name the file to write", param_hint="--out")
        kind = cast("Literal['sft', 'preference', 'labels', 'shadows']", form)
        exported = export_feedback(kind, out, project=project, database=database, since=since)
        if json:
            print_json(exported.as_dict())
            return
        sys.stdout.write(f"  {exported.rows} rows of {form} in {exported.out}\n")
        for reason, count in exported.left_out.items():
            sys.stdout.write(f"  left out: {count} × {reason}\n")
    else:
        if not user and not since:
            raise typer.BadParameter("say whom or since when: --user NAME, --since DATE", param_hint="--user")
        erased = forget_feedback(user=user, since=since, project=project, database=database)
        if json:
            print_json(erased.as_dict())
            return
        sys.stdout.write(f"  erased {erased.answers} answers and {erased.feedback} feedbacks\n")
