"""`runs`: the runs of a project or of several, from their artifacts alone; compared, drawn, and one recommended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.ops.runs.row import RunRow
from tunesmith.ops.runs.table import RunsTable, find_run, runs_table

if TYPE_CHECKING:  # they load numpy and scipy
    from tunesmith.ops.runs.comparing import Curves, RunComparison
    from tunesmith.ops.runs.recommending import Recommendation

__all__ = ["RunRow", "RunsTable", "compare_runs", "recommend_run", "run_curves", "runs"]


def runs(*projects: str | Path, sort: str = "", filters: Sequence[str] = ()) -> RunsTable:
    """The runs of the projects (this folder by default), newest first: settings that differ, losses, scores, verdict, cost.

    A folder whose subfolders hold projects stands for all of them. `sort`: a column, `-column` from high to low. `filters`:
    expressions such as `verdict=SHIP and train.learning_rate<1e-3`; a row must satisfy all. Columns are the fields of `RunRow`
    and the settings by their names.

    Raises:
        ArtifactError: a folder without a project, an unknown column, or a filter that cannot be read.
    """
    return runs_table([Path(project) for project in projects or (".",)], sort=sort, filters=filters)


def compare_runs(a: str, b: str, *projects: str | Path, out: str | Path | None = None) -> RunComparison:
    """Two finished runs by the first digits of their ids (or `run:latest`): what differed in settings and data, what changed.

    Where both were evaluated on the same items, the gain of `b` over `a` is paired by item, with an interval clustered by
    document; otherwise it says why it was not measured. A page with the curves is written to `out`, or below the project.

    Raises:
        ArtifactError: no such run, or one that is not finished or damaged.
        StorageError: the page cannot be written.
    """
    from tunesmith.ops.runs.comparing import compare_two

    rows = runs(*projects).rows
    return compare_two(find_run(a, rows), find_run(b, rows), out=None if out is None else Path(out))


def run_curves(*ids: str, projects: Sequence[str | Path] = (), out: str | Path | None = None) -> Curves:
    """A page with the losses of two runs or more, drawn over each other. Errors as `compare_runs`."""
    from tunesmith.ops.runs.comparing import write_curves

    rows = runs(*projects).rows
    return write_curves([find_run(id, rows) for id in ids], out=None if out is None else Path(out))


def recommend_run(*projects: str | Path, filters: Sequence[str] = ()) -> Recommendation:
    """The run to take: the best one that was judged SHIP, unless a run with less than half its parameters is as good.

    More than twice the parameters must gain at least 5 %, significantly. Errors as `runs`.
    """
    from tunesmith.ops.runs.recommending import recommend

    return recommend(runs(*projects, filters=filters).rows)
