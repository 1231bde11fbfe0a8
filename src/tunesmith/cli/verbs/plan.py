"""Print every number of the run with its reason, without training. Example: tunesmith plan --source ./posts

With --params CONFIG.json: the parameters of any model, and the memory, GPUs, time and money that it takes.
"""

from __future__ import annotations

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
    stage_command,
)

__all__ = ["command"]

_SIZES = "With --params"


def command(  # noqa: PLR0913 (the options of a verb)
    context: typer.Context,
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
    params: Annotated[
        str | None,
        typer.Option(
            help="Sizes of a model in place of a run: config.json, its folder, or the name of a model on this machine."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Rows at once in training.", rich_help_panel=_SIZES)] = 1,
    length: Annotated[int, typer.Option(help="Tokens of a row in training.", rich_help_panel=_SIZES)] = 2048,
    rank: Annotated[int, typer.Option(help="Rank of the adapter.", rich_help_panel=_SIZES)] = 16,
    targets: Annotated[
        str, typer.Option(help="Adapted layers: all, attention, mlp, or names such as q_proj,v_proj.", rich_help_panel=_SIZES)
    ] = "all",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or mixed (autocast).", rich_help_panel=_SIZES)] = "bfloat16",
    optimizer: Annotated[
        str, typer.Option(help="adamw, adamw_8bit, adafactor, lion or sgd.", rich_help_panel=_SIZES)
    ] = "adamw",
    checkpointing: Annotated[bool, typer.Option(help="Gradient checkpointing.", rich_help_panel=_SIZES)] = False,
    context_tokens: Annotated[
        int, typer.Option("--context", help="Tokens of a request when serving.", rich_help_panel=_SIZES)
    ] = 4096,
    requests: Annotated[int, typer.Option(help="Requests at once when serving.", rich_help_panel=_SIZES)] = 1,
    tokens: Annotated[
        int | None, typer.Option(help="Training tokens; times this machine for about two seconds.", rich_help_panel=_SIZES)
    ] = None,
    method: Annotated[
        str, typer.Option(help="What the time is for: full, lora, dora or qlora.", rich_help_panel=_SIZES)
    ] = "lora",
    price: Annotated[float | None, typer.Option(help="Dollars per hour of this machine.", rich_help_panel=_SIZES)] = None,
    prices: Annotated[
        Path | None, typer.Option(help="Your copy of the table of GPUs and prices.", rich_help_panel=_SIZES)
    ] = None,
) -> None:
    """Of a run; with `--params`, of a model. The JSON objects are contracts (docs/reference/scripting.md)."""
    if params is None:
        _refuse_sizes(context)
        stage_command("plan")(project, recipe, source, base, set_, allow, json, allow_private, offline, include)
        return
    from tunesmith.api.model_sizing import SizeSettings, model_size
    from tunesmith.cli.render import print_json
    from tunesmith.cli.sizes import show_model

    settings = SizeSettings(
        batch=batch,
        length=length,
        rank=rank,
        targets=tuple(word.strip() for word in targets.split(",") if word.strip()),
        precision=precision,
        optimizer=optimizer,
        checkpointing=checkpointing,
        context=context_tokens,
        requests=requests,
        tokens=tokens,
        method=method,
        usd_per_hour=price,
    )
    found = model_size(params, settings, prices=prices)
    if json:
        print_json(found.as_dict())
    else:
        show_model(params, found)


_OF_SIZES = (
    *("batch", "length", "rank", "targets", "precision", "optimizer", "checkpointing", "context_tokens", "requests", "tokens"),
    *("method", "price", "prices"),
)


def _refuse_sizes(context: typer.Context) -> None:
    """An option about a model's sizes without --params would be ignored."""
    for name in _OF_SIZES:
        if (given := context.get_parameter_source(name)) is not None and given.name == "COMMANDLINE":
            option = "--" + name.removesuffix("_tokens")
            raise typer.BadParameter(f"{option} needs --params CONFIG.json; a run has these in its recipe")
