"""Compare two prediction files, paired by item. Example: tunesmith compare base.jsonl tuned.jsonl --json"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json

__all__ = ["command"]


def command(
    a: Annotated[Path, typer.Argument(help="Predictions of the first system, JSON lines.")],
    b: Annotated[Path, typer.Argument(help="Predictions of the second system on the same items.")],
    metric: Annotated[str, typer.Option(help="word_overlap, rouge_l, exact_match, …")] = "word_overlap",
    draws: Annotated[int, typer.Option(min=200, help="Resamples of the bootstrap and the permutation test.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 7,
    json: Json = False,
) -> None:
    """The JSON object is a contract (docs/reference/scripting.md)."""
    from tunesmith.api.comparison import compare
    from tunesmith.cli.render import console, print_json, table

    result = compare(a, b, metric=metric, draws=draws, seed=seed)
    if json:
        print_json(result.as_dict())
        return
    for warning in result.warnings:
        console().print(f"! {warning}")
    sides = (result.a, result.b)
    rows = [[name, *(_number(side[name]) for side in sides)] for name in ("mean", "median", "std", "min", "max")]
    rows.append(["interval", *(_range(side["ci"]) for side in sides)])
    rows.append(["cut", *(_number(result.cut[side]) for side in ("a", "b"))])
    table(f"{metric} on {result.n} items", ["", str(a.name), str(b.name)], rows)
    table(
        "",
        ["difference b − a", "", "interval", "p"],
        [
            [name, _number(found["mean"]), _range(found["ci"]), _number(found["p"])]
            for name, found in (
                ("as answered", result.difference),
                ("trimmed to the reference", result.length_matched["difference"]),
            )
        ],
    )


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def _range(ci: list[float] | None) -> str:
    return "not measured" if ci is None else f"[{ci[0]:.4f}, {ci[1]:.4f}]"
