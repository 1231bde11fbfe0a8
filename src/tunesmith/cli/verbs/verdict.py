"""Show the verdict of an evaluation, or compute it again. Example: tunesmith verdict --verify"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir

__all__ = ["command"]


def command(
    id: Annotated[str, typer.Argument(help="First digits of an evaluation's id.")] = "eval:latest",
    verify: Annotated[bool, typer.Option("--verify", help="Compute everything again from the stored answers.")] = False,
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """The exit code is that of the verdict; 1 if it cannot be computed again."""
    from tunesmith.api import verdicts
    from tunesmith.cli.render import console, print_json, table

    checked = verdicts.verify(id, project=project) if verify else None
    found = checked.verdict if checked else verdicts.verdict(id, project=project)
    again = {} if checked is None else {"verified": checked.holds, "different": list(checked.different)}
    if json:
        print_json({**found.as_dict(), **again})
    else:
        console().print(f"{found.verdict}  {found.sentence}")
        rows = [
            [gate.name, "required" if gate.required else "advisory", gate.state, gate.evidence + _marks(gate)]
            for gate in found.gates
        ]
        table("", ["gate", "", "", "evidence"], rows)
        if found.not_measured:
            console().print(f"not measured: {', '.join(found.not_measured)}")
        console().print(found.advice)
        if checked is not None:
            console().print(_checked(checked.holds, checked.files, checked.different))
    sys.exit(1 if checked is not None and not checked.holds else found.exit_code)


def _marks(gate: object) -> str:
    marks = [text for name in ("warning", "loosened") if (text := getattr(gate, name))]
    return f" ({'; '.join(marks)})" if marks else ""


def _checked(holds: bool, files: tuple[str, ...], different: tuple[str, ...]) -> str:
    if holds:
        return f"verified: {len(files)} files computed again from the stored answers, all equal to the byte"
    return f"NOT verified: {', '.join(different)} came out otherwise than stored"
