"""Options shared by several verbs, and the command of the verbs that run the pipeline up to one stage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Allow",
    "Base",
    "Include",
    "Json",
    "Offline",
    "Private",
    "ProjectDir",
    "RecipeFile",
    "Settings",
    "Sources",
    "Stage",
    "refuse_without_effect",
    "stage_command",
]

ProjectDir = Annotated[
    Path, typer.Option("--project", help="Folder of the project; artifacts are stored in its .tunesmith folder.")
]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="Recipe to use instead of PROJECT/tunesmith.yaml.")]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", help="Folder, file or address with your writing; may be repeated. Needs no recipe."),
]
Base = Annotated[
    str | None, typer.Option("--base", help="Base model: a name of `tunesmith bases`, a folder, a GGUF file, or a hub id.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Use no network: fetch neither a base model nor an address.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override one setting, such as train.epochs=3; may be repeated.")
]
Allow = Annotated[
    list[str] | None, typer.Option("--allow", help="Continue despite a blocking finding, by its name: secrets, leak, cut …")
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        help="Also take what is left out by default: model-answers, quotations or replies; may be repeated. "
        "Adds to ingest.extras.",
    ),
]
Stage = Annotated[
    str, typer.Option("--stage", help="Of a recipe with stages: the stage that is meant, by its name. The last by default.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Private = Annotated[
    bool, typer.Option("--allow-private", help="Allow fetching addresses of this machine and the local network.")
]


def stage_command(name: str) -> Callable[..., None]:
    """The command of a verb that runs the pipeline: all of it for `run` and `eval`, else up to the stage of the verb."""

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
    ) -> None:
        from tunesmith.cli import run as pipeline

        choice = pipeline.Choice(
            project, recipe, source or [], base, set_ or [], allow or [], allow_private, offline, include or [], stage
        )
        (pipeline.run if name in ("run", "eval") else partial(pipeline.stage, name))(choice, json=json)

    return command


def refuse_without_effect(context: typer.Context, action: str, takes: Mapping[str, Collection[str]]) -> None:
    """Refuse an option that `action` would ignore. `takes`: for each action the parameters that only some actions read.

    BadParameter names the option and the actions that have it.
    """
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE" or name in takes[action]:
            continue
        if having := [other for other, names in takes.items() if name in names]:
            raise typer.BadParameter(
                f"it has no effect with {action}, only with {', '.join(having)}", param_hint=f"'{parameter.opts[0]}'"
            )
