"""List, compare and recommend runs, from their artifacts alone. Example: tunesmith runs --sort loss --filter verdict=SHIP"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json

__all__ = ["command"]

Projects = Annotated[
    list[Path] | None,
    typer.Option("--project", help="Project, or a folder that holds several; may be repeated. This folder by default."),
]
_TAKES = {"list": 0, "compare": 2, "curves": -2, "recommend": 0}


def command(
    action: Annotated[str, typer.Argument(help="list, compare, curves or recommend.")] = "list",
    ids: Annotated[list[str] | None, typer.Argument(help="First digits of the ids of runs, or run:latest.")] = None,
    project: Projects = None,
    sort: Annotated[str, typer.Option("--sort", help="Column to sort by; -COLUMN sorts from high to low.")] = "",
    filter_: Annotated[
        list[str] | None,
        typer.Option("--filter", help="Rows to use, such as 'verdict=SHIP and rank<=16'; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Rows to print; 0 prints all. JSON has all.")] = 20,
    out: Annotated[Path | None, typer.Option("--out", help="Page to write, with compare and curves.")] = None,
    json: Json = False,
) -> None:
    """Columns are those of the JSON rows, and every setting by its name. `recommend` exits with 3 if no run was judged SHIP."""
    from tunesmith.api import experiments
    from tunesmith.cli import runs as shown
    from tunesmith.cli.render import print_json

    named, places = ids or [], project or ()
    _check(action, named)
    if action == "compare":
        compared = experiments.compare_runs(*named, *places, out=out)
        print_json(compared.as_dict()) if json else shown.print_comparison(compared)
    elif action == "curves":
        curves = experiments.run_curves(*named, projects=places, out=out)
        print_json(curves.as_dict()) if json else shown.print_curves(curves)
    elif action == "recommend":
        advice = experiments.recommend_run(*places, filters=filter_ or ())
        print_json(advice.as_dict()) if json else shown.print_recommendation(advice)
        sys.exit(0 if advice.id else 3)
    else:
        found = experiments.runs(*places, sort=sort, filters=filter_ or ())
        print_json(found.as_dict()) if json else shown.print_runs(found, limit=limit)


def _check(action: str, ids: Sequence[str]) -> None:
    from tunesmith.core.errors import ArtifactError

    hint = "tunesmith runs compare run:latest 3f9c1a2b"
    if action not in _TAKES:
        raise ArtifactError("runs can do four things", value=action, expected=f"one of {', '.join(_TAKES)}", hint=hint)
    count = _TAKES[action]
    if len(ids) != count if count >= 0 else len(ids) < -count:
        many = "no ids" if not count else f"{abs(count)} ids" + (" or more" if count < 0 else "")
        raise ArtifactError(f"runs {action} takes {many}", value=" ".join(ids), expected=many, hint=hint)
