"""`compare`: two prediction files, paired by item."""

from __future__ import annotations

from pathlib import Path

from tunesmith.cli.render import console, print_json, table
from tunesmith.eval.compare import compare_files

__all__ = ["compare"]


def compare(a: Path, b: Path, *, metric: str, draws: int, seed: int, json: bool) -> None:
    """Print the comparison; the JSON object is a contract (docs/reference/scripting.md)."""
    result = compare_files(a, b, metric=metric, draws=draws, seed=seed)
    if json:
        print_json(result)
        return
    for warning in result["warnings"]:
        console().print(f"! {warning}")
    rows = [[name, *(_number(result[side][name]) for side in ("a", "b"))] for name in ("mean", "median", "std", "min", "max")]
    rows.append(["interval", *(_range(result[side]["ci"]) for side in ("a", "b"))])
    rows.append(["cut", *(_number(result["cut"][side]) for side in ("a", "b"))])
    table(f"{metric} on {result['n']} items", ["", str(a.name), str(b.name)], rows)
    matched = result["length_matched"]["difference"]
    table(
        "",
        ["difference b − a", "", "interval", "p"],
        [
            [
                "as answered",
                _number(result["difference"]["mean"]),
                _range(result["difference"]["ci"]),
                _number(result["difference"]["p"]),
            ],
            ["trimmed to the reference", _number(matched["mean"]), _range(matched["ci"]), _number(matched["p"])],
        ],
    )


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def _range(ci: list[float] | None) -> str:
    return "not measured" if ci is None else f"[{ci[0]:.4f}, {ci[1]:.4f}]"
