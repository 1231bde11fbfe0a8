"""`runs`: the runs of a project or of several, from their artifacts alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunesmith.ops.runs.row import RunRow
from tunesmith.ops.runs.table import RunsTable, runs_table

__all__ = ["RunRow", "RunsTable", "runs"]


def runs(*projects: str | Path, sort: str = "", filters: Sequence[str] = ()) -> RunsTable:
    """The runs of the projects (this folder by default), newest first: settings that differ, losses, scores, verdict, cost.

    A folder whose subfolders hold projects stands for all of them. `sort`: a column, `-column` from high to low. `filters`:
    expressions such as `verdict=SHIP and train.learning_rate<1e-3`; a row must satisfy all. Columns are the fields of `RunRow`
    and the settings by their names.

    Raises:
        ArtifactError: a folder without a project, an unknown column, or a filter that cannot be read.
    """
    return runs_table([Path(project) for project in projects or (".",)], sort=sort, filters=filters)
