"""Run the full pipeline, from your writing to a verdict. Example: tunesmith run --source ./posts"""

from __future__ import annotations

from pathlib import Path

from tunesmith.cli.options import Allow, Base, Json, Offline, Private, ProjectDir, RecipeFile, Settings, Sources

__all__ = ["command"]


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
) -> None:
    """The exit code is that of the verdict."""
    from tunesmith.cli import run as pipeline

    choice = pipeline.Choice(project, recipe, source or [], base, set_ or [], allow or [], allow_private, offline)
    pipeline.run(choice, json=json)
