"""Judge a model that was trained elsewhere. Example: tunesmith audit --base smollm2 --adapter ./lora --source ./posts"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Base, Json, Offline, Private, ProjectDir, RecipeFile, Settings, Sources

__all__ = ["command"]


def command(  # noqa: PLR0913 (the options of a verb)
    base: Base = None,
    adapter: Annotated[Path | None, typer.Option(help="Folder of an adapter for the base: peft or mlx-lm files.")] = None,
    model: Annotated[str, typer.Option(help="A whole model: a folder with its own tokenizer.")] = "",
    url: Annotated[str, typer.Option(help="Address of an OpenAI-compatible server, such as http://127.0.0.1:8080/v1.")] = "",
    model_name: Annotated[str, typer.Option(help="The model's name on that server.")] = "",
    source: Sources = None,
    suite: Annotated[str, typer.Option(help="Questions with references, in place of --source.")] = "",
    set_: Settings = None,
    project: ProjectDir = Path("."),
    recipe: RecipeFile = None,
    json: Json = False,
    allow_private: Private = False,
    offline: Offline = False,
) -> None:
    """The exit code is that of the verdict: 0 SHIP, 2 DON'T SHIP, 3 CAN'T TELL."""
    from tunesmith.cli import run as pipeline

    given = source or ([suite] if suite else [])
    choice = pipeline.Choice(project, recipe, given, base, set_ or [], [], allow_private, offline)
    pipeline.audit(choice, adapter=adapter, model=model, url=url, model_name=model_name, suite=suite, json=json)
