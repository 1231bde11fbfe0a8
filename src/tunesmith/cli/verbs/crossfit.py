"""Judge a recipe on few documents: an adapter for each fold. Example: tunesmith crossfit --folds 4"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Allow, Base, Json, Offline, Private, ProjectDir, RecipeFile, Settings, Sources

__all__ = ["command"]


def command(  # noqa: PLR0913 (the options of a verb)
    folds: Annotated[int, typer.Option("--folds", min=1, help="Parts of the documents; each is the test split once.")] = 4,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Adapters for each fold, each with another seed.")] = 1,
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
    """For writing with too few documents for a test split. The exit code is that of the verdict."""
    from tunesmith.cli import run as pipeline

    choice = pipeline.Choice(project, recipe, source or [], base, set_ or [], allow or [], allow_private, offline)
    pipeline.crossfit(choice, folds=folds, seeds=seeds, json=json)
