"""Try other settings on the validation split. Example: tunesmith sweep --vary train.learning_rate=1e-4..3e-3:log"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Allow, Base, Json, Offline, Private, ProjectDir, RecipeFile, Settings, Sources

__all__ = ["command"]


def command(  # noqa: PLR0913 (the options of a verb)
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", help="NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A,B,C; may be repeated."),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", help="Number of trials in all, earlier ones of this sweep included.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the proposals.")] = 7,
    out: Annotated[Path | None, typer.Option("--out", help="File for the best recipe.")] = None,
    project: ProjectDir = Path("."),
    recipe: RecipeFile = None,
    source: Sources = None,
    base: Base = None,
    set_: Settings = None,
    allow: Allow = None,
    json: Json = False,
    allow_private: Private = False,
    offline: Offline = False,
) -> None:
    """By default the learning rate and the rank vary. The test split is not used. The same command continues a sweep."""
    from tunesmith.cli import run as pipeline

    choice = pipeline.Choice(project, recipe, source or [], base, set_ or [], allow or [], allow_private, offline)
    pipeline.sweep(choice, vary=vary or [], trials=trials, seed=seed, out=out, json=json)
