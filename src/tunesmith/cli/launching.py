"""The command of the verbs that train: as it is typed, or begun in several processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import (
    Allow,
    Base,
    Include,
    Json,
    Offline,
    Private,
    ProjectDir,
    RecipeFile,
    Settings,
    Sources,
    Stage,
    stage_command,
)

__all__ = ["training_command"]

Processes = Annotated[
    int, typer.Option("--processes", help="Train in so many processes of this machine, one for each GPU; torchrun starts them.")
]
Nodes = Annotated[int, typer.Option("--nodes", help="Machines that train together; type the same command on each.")]
Rendezvous = Annotated[str, typer.Option("--rendezvous", help="HOST:PORT of one of several machines, where they meet.")]


def training_command(name: str) -> Callable[..., None]:
    """As `stage_command`, with the options that begin several processes."""
    plain = stage_command(name)

    def command(  # noqa: PLR0913 (the options of a verb)
        project: ProjectDir = Path("."),
        recipe: RecipeFile = None,
        source: Sources = None,
        base: Base = None,
        set_: Settings = None,
        allow: Allow = None,
        json: Json = False,
        allow_private: Private = False,
        offline: Offline = False,
        include: Include = None,
        stage: Stage = "",
        processes: Processes = 1,
        nodes: Nodes = 1,
        rendezvous: Rendezvous = "",
    ) -> None:
        if (processes, nodes, rendezvous) == (1, 1, ""):
            plain(project, recipe, source, base, set_, allow, json, allow_private, offline, include, stage)
            return
        from tunesmith.api.processes import launch

        given: dict[str, Sequence[object] | None] = {"--project": [project], "--recipe": [recipe], "--base": [base]}
        given |= {"--source": source, "--set": set_, "--allow": allow, "--include": include, "--stage": [stage or None]}
        words = [word for option, values in given.items() for value in values or [] if value for word in (option, str(value))]
        switches = {"--json": json, "--allow-private": allow_private, "--offline": offline}
        words += [option for option, on in switches.items() if on]
        sys.exit(launch([name, *words], processes=processes, nodes=nodes, rendezvous=rendezvous))

    return command
