"""Take back the last move of an alias of a running server. Example: tunesmith rollback mine"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tunesmith.cli.options import Json

__all__ = ["command"]


def command(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    alias: Annotated[str, typer.Option(help="Alias to move back.")] = "live",
    url: Annotated[str, typer.Option(help="Address of the running server.")] = "http://127.0.0.1:8000",
    json: Json = False,
) -> None:
    """The key of the server is taken from TUNESMITH_SERVE_KEY. Requests in work end on the version that they began with."""
    from tunesmith.api.traffic import rollback
    from tunesmith.cli.render import print_json

    found = rollback(name, alias=alias, url=url)
    if json:
        print_json(found.as_dict())
    else:
        sys.stdout.write(f"  {name}@{alias}: {found.before} → {found.after} in {found.seconds:.2f} s\n")
