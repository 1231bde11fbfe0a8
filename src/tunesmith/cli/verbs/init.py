"""Write a commented recipe. Example: tunesmith init --source ./posts"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import ProjectDir

__all__ = ["command"]


def command(
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Folder, file or address with your writing; may be repeated.")
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="Folder with data_, model_, training_ and evaluation_config.yaml to convert."),
    ] = None,
    project: ProjectDir = Path("."),
    print_: Annotated[bool, typer.Option("--print", help="Print the recipe instead of writing it.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing recipe.")] = False,
) -> None:
    """An existing recipe is replaced only with `--force`."""
    from tunesmith.api.recipes import new_recipe, write_recipe
    from tunesmith.cli.render import console

    recipe = new_recipe(*(source or []), older=from_)
    if print_:
        sys.stdout.write(recipe.text)
        return
    file = write_recipe(recipe, project=project, force=force)
    out = console()
    out.print(f"  wrote  {file}")
    for note in recipe.notes:
        out.print(f"         {note}")
    where = "" if project == Path(".") else f" --project {shlex.quote(str(project))}"
    out.print(f"  next   tunesmith plan{where}")
