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
    Stage,
    stage_command,
)

__all__ = ["command"]


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
    stage: Stage = "",
    params: Annotated[
        str | None,
        typer.Option(
            help="Sizes of a model in place of a run: config.json, its folder, or the name of a model on this machine."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Rows at once in training.")] = 1,
    length: Annotated[int, typer.Option(help="Tokens of a row in training.")] = 2048,
    rank: Annotated[int, typer.Option(help="Rank of the adapter.")] = 16,
    targets: Annotated[str, typer.Option(help="Adapted layers: all, attention, mlp, or names such as q_proj,v_proj.")] = "all",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or mixed (autocast).")] = "bfloat16",
    optimizer: Annotated[str, typer.Option(help="adamw, adamw_8bit, adafactor, lion or sgd.")] = "adamw",
    checkpointing: Annotated[bool, typer.Option(help="Gradient checkpointing.")] = False,
    context_tokens: Annotated[int, typer.Option("--context", help="Tokens of a request when serving.")] = 4096,
    requests: Annotated[int, typer.Option(help="Requests at once when serving.")] = 1,
    tokens: Annotated[int | None, typer.Option(help="Training tokens; times this machine for about two seconds.")] = None,
    method: Annotated[str, typer.Option(help="What the time is for: full, lora, dora or qlora.")] = "lora",
    price: Annotated[float | None, typer.Option(help="Dollars per hour of this machine.")] = None,
    prices: Annotated[Path | None, typer.Option(help="Your copy of the table of GPUs and prices.")] = None,
) -> None:
    """Of a run; with `--params`, of a model. The JSON objects are contracts (docs/reference/scripting.md)."""
    _refuse_options(context, _OF_RUNS if params is not None else _OF_SIZES)
    if params is None:
        stage_command("plan")(project, recipe, source, base, set_, allow, json, allow_private, offline, include, stage)
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


_OF_RUNS = ("project", "recipe", "source", "base", "set_", "allow", "allow_private", "offline", "include", "stage")


def _refuse_options(context: typer.Context, names: tuple[str, ...]) -> None:
    """An option that has no effect would be ignored: those of a model's sizes without --params, those of a run with it."""
    for name in names:
        if (given := context.get_parameter_source(name)) is not None and given.name == "COMMANDLINE":
            option = "--" + name.removesuffix("_tokens").strip("_").replace("_", "-")
            needs = "needs --params CONFIG.json; a run has these in its recipe"
            raise typer.BadParameter(f"{option} {'has no effect with --params' if names is _OF_RUNS else needs}")
