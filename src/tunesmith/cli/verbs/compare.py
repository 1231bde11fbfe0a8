"""Compare prediction files, paired by item. Example: tunesmith compare base.jsonl tuned.jsonl --train train.jsonl"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.options import Json

if TYPE_CHECKING:
    from tunesmith.api.comparison import CompareResult

__all__ = ["command"]


def command(
    files: Annotated[
        list[Path],
        typer.Argument(help="Prediction files of two systems or more, JSON lines or gzip; the first is the reference system."),
    ],
    metric: Annotated[
        str, typer.Option(help="word_overlap, rouge_l, chrf, token_f1, macro_f1 … (docs/concepts/metrics.md).")
    ] = "word_overlap",
    group: Annotated[str, typer.Option(help="Field that names the document of an item.")] = "group",
    train: Annotated[Path | None, typer.Option(help="Training rows: also compare with the nearest training answer.")] = None,
    run_code: Annotated[
        bool, typer.Option("--run-code", help="Execute the answers for code_passes. The limits are not a sandbox.")
    ] = False,
    draws: Annotated[int, typer.Option(min=200, help="Resamples of the bootstrap and the permutation test.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 7,
    json: Json = False,
) -> None:
    """The JSON object is a contract (docs/reference/scripting.md)."""
    from tunesmith.api.comparison import compare
    from tunesmith.cli.render import print_json

    result = compare(*files, metric=metric, group=group, train=train, run_code=run_code, draws=draws, seed=seed)
    if json:
        print_json(result.as_dict())
    else:
        _print(result)


def _print(result: CompareResult) -> None:
    from tunesmith.cli.render import console, table

    for warning in result.warnings:
        console().print(f"! {warning}")
    rows = [[system["name"], *_side(system), _number(system["cut"])] for system in result.systems]
    rows += [[f"floor: {name.replace('_', ' ')}", *_side(floor), ""] for name, floor in result.floors.items()]
    title = f"{result.metric} on {result.n} items, {result.num_groups} documents"
    table(title, ["", "mean", "interval", "median", "cut"], rows)
    for name, floor in result.floors.items():
        console().print(f"  {name.replace('_', ' ')}: {floor['meaning'][0].lower()}{floor['meaning'][1:]}", style="dim")
    if result.check and result.check["auc"] is not None:
        known = f"AUC {result.check['auc']:.3f} {_range(result.check['ci'])}"
        texts = f"{result.check['num_documents']} documents of the author, pieces of {result.check['words']} words"
        console().print(f"  checked on unseen documents: {known}; {texts}")
    pairs = [
        [f"{pair['b']} − {pair['a']}", _number(pair["mean"]), _range(pair["ci"]), _number(pair["p"]), _number(pair["p_holm"])]
        for pair in result.pairs
    ]
    matched = result.length_matched["difference"]
    if matched["mean"] is not None:
        pairs.append(
            ["first two, trimmed to the reference", _number(matched["mean"]), _range(matched["ci"]), _number(matched["p"]), ""]
        )
    table("", ["difference", "", "interval", "p", "p (Holm)"], pairs)


def _side(side: Mapping[str, Any]) -> list[str]:
    return [_number(side["mean"]), _range(side["ci"]), _number(side["median"])]


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def _range(ci: list[float] | None) -> str:
    return "not measured" if ci is None else f"[{ci[0]:.4f}, {ci[1]:.4f}]"
