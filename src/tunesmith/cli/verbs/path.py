"""Print the folder of an artifact. Example: cd $(tunesmith path eval:latest)"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import ProjectDir

__all__ = ["command"]


def command(
    id: Annotated[str, typer.Argument(help="First digits of an id, or KIND:latest.")],
    project: ProjectDir = Path("."),
) -> None:
    """Only the folder is printed to stdout, for scripts."""
    from tunesmith.api.stored import artifact

    sys.stdout.write(f"{artifact(id, project=project).path}\n")
