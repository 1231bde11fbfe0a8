"""Print sizes of LoRA adapters by rank. Example: tunesmith lora --hidden 4096 --layers 32 --targets q_proj,v_proj --json"""

from __future__ import annotations

from typing import Annotated

import typer

from tunesmith.cli.options import Json

__all__ = ["command"]


def command(  # noqa: PLR0913 (the options of a verb)
    config: Annotated[
        str | None,
        typer.Option(help="config.json, its folder, or the name of a model on this machine: exact for all its layers."),
    ] = None,
    hidden: Annotated[int | None, typer.Option(help="Without --config: width of the model.")] = None,
    layers: Annotated[int | None, typer.Option(help="Without --config: number of layers.")] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads.")] = None,
    kv_heads: Annotated[int | None, typer.Option(help="Key and value heads, where they are fewer.")] = None,
    head_dim: Annotated[int | None, typer.Option(help="Width of a head.")] = None,
    intermediate: Annotated[int | None, typer.Option(help="Width of the MLP.")] = None,
    vocab: Annotated[int | None, typer.Option(help="Size of the vocabulary.")] = None,
    ranks: Annotated[str, typer.Option(help="Ranks, separated by commas.")] = "4,8,16,32,64",
    targets: Annotated[str, typer.Option(help="Adapted layers: all, attention, mlp, or names such as q_proj,v_proj.")] = "all",
    budget_mb: Annotated[
        str, typer.Option(help="Sizes of the file, in MB, for which the largest rank is found.")
    ] = "10,50,100,500",
    dora: Annotated[bool, typer.Option(help="DoRA in place of LoRA.")] = False,
    precision: Annotated[str, typer.Option(help="Number type of the frozen weights: float32 or bfloat16.")] = "bfloat16",
    json: Json = False,
) -> None:
    """The JSON object is a contract (docs/reference/scripting.md)."""
    from tunesmith.api.adapter_sizing import ModelDimensions, lora_sizes
    from tunesmith.cli.render import print_json
    from tunesmith.cli.sizes import show_lora

    if config is None and (hidden is None or layers is None):
        raise typer.BadParameter("which model is missing: give --config CONFIG.json, or --hidden and --layers")
    numbers = {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "intermediate": intermediate, "vocab": vocab}
    given = [name for name, value in {"hidden": hidden, "layers": layers, **numbers}.items() if value is not None]
    if config is not None and given:
        raise typer.BadParameter(f"--{given[0].replace('_', '-')} has no effect with --config, which says it already")
    found = lora_sizes(
        config if config is not None else ModelDimensions(hidden=hidden or 0, layers=layers or 0, **numbers),
        ranks=[int(_number(word, "--ranks", int)) for word in _words(ranks)],
        targets=_words(targets),
        budgets_mb=[_number(word, "--budget-mb", float) for word in _words(budget_mb)],
        dora=dora,
        precision=precision,
    )
    if json:
        print_json(found.as_dict())
    else:
        show_lora(found)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _number(word: str, option: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(word)
    except ValueError:
        raise typer.BadParameter(f"{option} takes numbers separated by commas, and {word!r} is not one") from None
