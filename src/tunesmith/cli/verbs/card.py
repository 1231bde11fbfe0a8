"""Write the model card of a run, or check one. Example: tunesmith card --out README.md"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir

__all__ = ["command"]


def command(
    run: Annotated[str, typer.Argument(help="First digits of a run's id.")] = "run:latest",
    out: Annotated[Path | None, typer.Option("--out", help="File for the card, .md or .html; without it, stdout.")] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the model on the card.")] = "",
    verify: Annotated[
        Path | None, typer.Option("--verify", help="Read every number of this card from the artifacts again.")
    ] = None,
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """`--verify` exits with 2 if a line of the card is not what the artifacts give, and names the line."""
    if verify is not None:
        _verify(verify, project, json=json)
        return
    from tunesmith.api.carding import card
    from tunesmith.cli.render import console, print_json

    made = card(run, out=out, name=name, project=project)
    if json:
        print_json(made.as_dict())
    elif made.out is None:
        sys.stdout.write(made.text)
    else:
        console().print(f"  {made.out}: {len(made.numbers)} numbers, each with its source")
        if made.out.suffix.lower() in {".html", ".htm"}:
            console().print("  a page is for reading; tunesmith card --out README.md writes one that --verify can check")
        else:
            console().print(f"  check it at any time: tunesmith card --verify {made.out}")


def _verify(file: Path, project: Path, *, json: bool) -> None:
    from tunesmith.api.carding import verify_card
    from tunesmith.cli.render import console, print_json

    checked = verify_card(file, project=project)
    if json:
        print_json(checked.as_dict())
    for text in () if json else checked.texts:
        console().print(f"  {file}: {text}")
    if not json and checked.ok:
        console().print(f"  {file}: every line is what the artifacts give")
    sys.exit(0 if checked.ok else 2)
