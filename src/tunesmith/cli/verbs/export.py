"""Write the tuned model for another engine, and judge that file. Example: tunesmith export --to merged --out shipped"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.options import Json, ProjectDir

if TYPE_CHECKING:
    from tunesmith.api.exporting import ExportResult, ExportTable

__all__ = ["command"]


def command(  # noqa: PLR0913 (the options of a verb)
    run: Annotated[str, typer.Argument(help="First digits of a run's id, or of anything made from it.")] = "run:latest",
    to: Annotated[str, typer.Option(help="Format: merged, gguf … `--formats` lists them.")] = "",
    quant: Annotated[
        list[str] | None, typer.Option(help="Quantisation, such as f16, q8_0, q4_k_m; may be repeated, for a table.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="New folder for a copy of the files.")] = None,
    verdict: Annotated[
        bool, typer.Option("--verdict/--no-verdict", help="Put the evaluation's own questions to the exported file.")
    ] = True,
    table: Annotated[bool, typer.Option("--table", help="Only show what was exported so far, and what to ship.")] = False,
    formats: Annotated[bool, typer.Option("--formats", help="List the formats and their quantisations.")] = False,
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """The exit code is 0 if all files are as good as the tested adapter, 2 if one is not, 3 if one was not measured. With
    --no-verdict it is 0 once they are written: they stay not measured."""
    from tunesmith.api import exporting
    from tunesmith.cli.render import ConsoleReporter, console, print_json
    from tunesmith.core.errors import EvaluationError

    if formats:
        print_json({name: list(quants) for name, quants in exporting.export_formats().items()})
        return
    if table:
        found = exporting.export_table(run, project=project)
        print_json(found.as_dict()) if json else _print_table(found)
        sys.exit(found.exit_code)
    wanted = list(dict.fromkeys(quant or [""]))
    if not to or (out is not None and len(wanted) > 1):
        raise EvaluationError(
            "no format is named" if not to else "one folder cannot take several forms",
            value=to if not to else str(out),
            expected="one format; tunesmith export --formats lists them" if not to else "one --quant with --out",
            hint="tunesmith export --to gguf" if not to else "export without --out first, then the one to ship with --out",
        )
    made = [
        exporting.export(run, to=to, quant=one, out=out, judged=verdict, project=project, reporter=ConsoleReporter(console()))
        for one in wanted
    ]
    if json:
        print_json(made[0].as_dict() if len(made) == 1 else {"forms": [one.as_dict() for one in made]})
    else:
        for one in made:
            _print(one)
        if len(made) > 1:
            _print_table(exporting.export_table(run, project=project))
    codes = {one.exit_code for one in made}
    sys.exit(0 if not verdict else next(code for code in (2, 3, 0) if code in codes))


def _print(made: ExportResult) -> None:
    from tunesmith.cli.render import console

    n, out = made.artifact.numbers, console()
    name = f"{n['form']} {n['quant']}".rstrip()
    out.print(f"  {name:<14}{made.file}   {_size(n['bytes'])}")
    if n["verdict"]:
        against = n["against_adapter"]
        out.print(
            f"  {'verdict':<14}{n['verdict']}   improvement over the base {_interval(n['primary'])} {n['primary']['name']}"
        )
        out.print(f"  {'':<14}against the adapter {_interval(against)}")
    for text in (*n["notes"], *n["marks"]):
        out.print(f"  {'':<14}{text}")
    if made.report:
        out.print(f"  {'open':<14}{made.report}")


def _print_table(found: ExportTable) -> None:
    from tunesmith.cli.render import console, table

    rows = [_row(one.artifact.numbers) for one in found.rows]
    table("exported forms", ["form", "size", "verdict", "against the adapter", "tokens/s", "as tested"], rows)
    best = found.recommended
    if best is None:
        console().print("  No form to ship: none is known to end in SHIP and to be as good as the tested adapter.")
    else:
        n = best.artifact.numbers
        console().print(f"  ship {n['form']} {n['quant']}: the smallest that is as good as the tested adapter.")


def _row(n: Any) -> list[str]:
    speed = "not measured" if n["tokens_per_s"] is None else f"{n['tokens_per_s']:.0f}"
    against = _interval(n["against_adapter"]) if n["against_adapter"] else "not measured"
    return [f"{n['form']} {n['quant']}".rstrip(), _size(n["bytes"]), n["verdict"] or "not measured", against, speed, n["state"]]


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"


def _interval(found: Any) -> str:
    if not found or found["mean"] is None:
        return "not measured"
    low, high = found["ci"]
    return f"{found['mean']:+.3f} [{low:+.3f}, {high:+.3f}]"
