"""List, compare, recommend and mirror runs. Example: tunesmith runs --sort loss --filter verdict=SHIP"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json, refuse_without_effect

__all__ = ["command"]

Projects = Annotated[
    list[Path] | None,
    typer.Option("--project", help="Project, or a folder that holds several; may be repeated. This folder by default."),
]
_TAKES = {"list": (0, 0), "compare": (2, 2), "curves": (2, None), "recommend": (0, 0), "mirror": (0, None)}
_OPTIONS = {
    "list": ("sort", "filter_", "limit"),
    "compare": ("out",),
    "curves": ("out",),
    "recommend": ("filter_",),
    "mirror": ("to", "mlflow_url"),
}


def command(  # noqa: PLR0913 (the options of a verb)
    context: typer.Context,
    action: Annotated[str, typer.Argument(help="list, compare, curves, recommend or mirror.")] = "list",
    ids: Annotated[list[str] | None, typer.Argument(help="First digits of the ids of runs, or run:latest.")] = None,
    project: Projects = None,
    sort: Annotated[str, typer.Option("--sort", help="Column to sort by; -COLUMN sorts from high to low.")] = "",
    filter_: Annotated[
        list[str] | None,
        typer.Option("--filter", help="Rows to use, such as 'verdict=SHIP and rank<=16'; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Rows to print; 0 prints all. JSON has all.")] = 20,
    out: Annotated[Path | None, typer.Option("--out", help="Page to write, with compare and curves.")] = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="With mirror: mlflow, trackio, wandb (offline) or tensorboard; may be repeated."),
    ] = None,
    mlflow_url: Annotated[str, typer.Option("--mlflow-url", help="With mirror: MLflow server to send to; else a file.")] = "",
    json: Json = False,
) -> None:
    """Columns are those of the JSON rows, and every setting by its name. `recommend` exits with 3 if no run was judged SHIP."""
    from tunesmith.api import experiments
    from tunesmith.cli import runs as shown
    from tunesmith.cli.render import print_json

    named, places = ids or [], project or ()
    _check(action, named)
    refuse_without_effect(context, action, _OPTIONS)
    if action == "compare":
        compared = experiments.compare_runs(*named, *places, out=out)
        print_json(compared.as_dict()) if json else shown.print_comparison(compared)
    elif action == "curves":
        curves = experiments.run_curves(*named, projects=places, out=out)
        print_json(curves.as_dict()) if json else shown.print_curves(curves)
    elif action == "recommend":
        advice = experiments.recommend_run(*places, filters=filter_ or ())
        print_json(advice.as_dict()) if json else shown.print_recommendation(advice)
        sys.exit(0 if advice.id else 3)
    elif action == "mirror":
        from tunesmith.api.tracking import mirror_runs

        done = [
            one
            for place in places or (Path("."),)
            for one in mirror_runs(*named, to=to or (), project=place, mlflow_url=mlflow_url)
        ]
        print_json([one.as_dict() for one in done]) if json else shown.print_mirrored(done)
    else:
        found = experiments.runs(*places, sort=sort, filters=filter_ or ())
        print_json(found.as_dict()) if json else shown.print_runs(found, limit=limit)


def _check(action: str, ids: Sequence[str]) -> None:
    from tunesmith.core.errors import ArtifactError

    hint = f"tunesmith runs --project {action}" if Path(action).is_dir() else "tunesmith runs compare run:latest 3f9c1a2b"
    if action not in _TAKES:
        raise ArtifactError("unknown action of runs", value=action, expected=f"one of {', '.join(_TAKES)}", hint=hint)
    least, most = _TAKES[action]
    if len(ids) < least or (most is not None and len(ids) > most):
        many = f"{least} ids" if most == least else f"{least} ids or more"
        raise ArtifactError(f"runs {action} takes {many}", value=" ".join(ids), expected=many, hint=hint)
