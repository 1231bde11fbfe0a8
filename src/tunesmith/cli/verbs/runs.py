"""Show the runs of a project, or of several, from their artifacts. Example: tunesmith runs --sort loss --filter verdict=SHIP"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json

__all__ = ["command"]

Projects = Annotated[
    list[Path] | None,
    typer.Option("--project", help="Project, or a folder that holds several; may be repeated. This folder by default."),
]


def command(
    project: Projects = None,
    sort: Annotated[str, typer.Option("--sort", help="Column to sort by; -COLUMN sorts from high to low.")] = "",
    filter_: Annotated[
        list[str] | None,
        typer.Option("--filter", help="Rows to show, such as 'verdict=SHIP and rank<=16'; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Rows to print; 0 prints all. JSON has all.")] = 20,
    json: Json = False,
) -> None:
    """Columns are those of the JSON rows, and every setting by its name."""
    from tunesmith.api.experiments import runs
    from tunesmith.cli.render import print_json
    from tunesmith.cli.runs import print_runs

    found = runs(*(project or ()), sort=sort, filters=filter_ or ())
    if json:
        print_json(found.as_dict())
    else:
        print_runs(found, limit=limit)
