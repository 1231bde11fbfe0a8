"""Write files that serve a model on another machine. Example: tunesmith deploy model:latest --to docker --out deployment"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir

__all__ = ["command"]


def command(
    references: Annotated[list[str], typer.Argument(help="Merged model, release or model folder; or NAME=REFERENCE.")],
    to: Annotated[str, typer.Option("--to", help="docker, systemd, kubernetes, ray, modal or runpod.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for the files and the models.")],
    name: Annotated[str, typer.Option(help="Name of the service.")] = "tunesmith",
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """The files are checked by tests; Tunesmith does not run them on these platforms."""
    from tunesmith.api.deploying import deploy
    from tunesmith.cli.render import print_json

    found = deploy(references, to, out, name=name, project=project)
    if json:
        print_json(found.as_dict())
        return
    for file in found.files:
        sys.stdout.write(f"  {file}\n")
    sys.stdout.write(f"  memory limit {found.memory_mib} MiB, estimated from the weights; the files were not run\n")
