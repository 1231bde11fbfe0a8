"""Merge base and adapter into one model folder. Example: tunesmith merge --adapter A --base smollm2 --out merged"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from tunesmith.api.merging import MergeResult

__all__ = ["command"]

_of_project = stage_command("merge")


def command(  # noqa: PLR0913 (the options of a verb)
    adapter: Annotated[
        list[Path] | None,
        typer.Option("--adapter", help="Folder of an adapter (peft or mlx-lm); may be repeated. Needs --out and no project."),
    ] = None,
    weights: Annotated[str, typer.Option("--weights", help="One weight per adapter, such as 0.7,0.3; 1 each by default.")] = "",
    method: Annotated[
        str, typer.Option("--method", help="How several adapters are combined: linear, ties, dare or dare_ties.")
    ] = "linear",
    density: Annotated[float, typer.Option("--density", help="Share of each update that ties and dare keep.")] = 0.5,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random choice that dare makes.")] = 7,
    out: Annotated[Path | None, typer.Option("--out", help="New folder for the merged model of --adapter.")] = None,
    precision: Annotated[
        str,
        typer.Option("--precision", help="Type of the stored weights: auto (the base's), float32, bfloat16 or float16."),
    ] = "",
    shard_size: Annotated[
        str, typer.Option("--shard-size", help="Largest weight file, such as 2GB; by default the base's own files.")
    ] = "",
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
    """Without `--adapter`, the run of the project is merged, and made first if it does not exist yet."""
    if not adapter:
        _refuse_adapter_options(weights=weights, method=method != "linear", out=out)
        stored = [f"merge.precision={precision}"] if precision else []
        stored += [f"merge.max_shard_size={shard_size}"] if shard_size else []
        _of_project(
            project=project,
            recipe=recipe,
            source=source,
            base=base,
            set_=[*(set_ or []), *stored],
            allow=allow,
            json=json,
            allow_private=allow_private,
            offline=offline,
            include=include,
            stage=stage,
        )
        return
    from tunesmith.api.merging import merge_adapters
    from tunesmith.cli.render import ConsoleReporter, console, print_json

    made = merge_adapters(
        *adapter,
        out=_needed(out),
        base=base or "",
        weights=_numbers(weights),
        method=method,  # type: ignore[arg-type]  # the function refuses what it does not know
        density=density,
        seed=seed,
        precision=precision or "auto",  # type: ignore[arg-type]
        max_shard_size=shard_size,
        offline=offline,
        reporter=ConsoleReporter(console()),
    )
    if json:
        print_json(made.as_dict())
    else:
        _show(made)


def _show(made: MergeResult) -> None:
    from tunesmith.cli.render import console

    out = console()
    parts = " + ".join(f"{weight:g} × {name}" for name, weight in zip(made.adapters, made.weights, strict=True))
    how = made.method if made.density is None else f"{made.method}, density {made.density:g}"
    out.print(f"  base     {made.base}")
    out.print(f"  adapter  {parts}" + (f"  ({how})" if len(made.adapters) > 1 else ""))
    if made.vocabulary is not None:
        out.print(f"  tokens   {made.vocabulary:,} rows of embeddings, with the adapter's own tokenizer")
    if made.untied:
        out.print("  head     a matrix of its own: training has parted it from the embedding")
    out.print(f"  merged   {made.path}  ({made.bytes / 1e6:,.1f} MB, {len(made.files)} weight files)")


def _numbers(text: str) -> tuple[float, ...]:
    from tunesmith.core.errors import ModelError

    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise ModelError(
            "the weights are not numbers", value=text, expected="numbers separated by commas", hint="--weights 0.7,0.3"
        ) from error


def _needed(out: Path | None) -> Path:
    from tunesmith.core.errors import ModelError

    if out is None:
        raise ModelError(
            "there is no folder for the merged model", value="--adapter", expected="--out DIR", hint="--out ./merged"
        )
    return out


def _refuse_adapter_options(**given: object) -> None:
    from tunesmith.core.errors import ModelError

    if used := [name for name, value in given.items() if value]:
        raise ModelError(
            f"--{used[0]} has no effect without --adapter",
            value=f"--{used[0]}",
            expected="one or more --adapter DIR",
            hint="tunesmith merge --adapter DIR --base NAME --out DIR",
        )
