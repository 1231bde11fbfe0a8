"""A run as a row of the table, and the rows of a project: finished runs, those under way, and damaged ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import orjson
import psutil

from tunesmith.core.errors import ArtifactError
from tunesmith.ops.runs.facts import Facts
from tunesmith.ops.runs.index import read_store

__all__ = ["RunRow", "State", "find_projects", "is_held", "rows_of"]

State = Literal["done", "under way", "interrupted", "pruned", "damaged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run. What is not known or was not measured is None, never zero.

    `settings` by name, without the base. `dataset`: its id. `loss` is the best validation loss, in the unit of the method.
    `score` is the mean of the tuned model in `metric` on the test split, `gain` what it is better than the base (positive is
    better), each with its interval. `loosened`: gates that were easier to pass than by default. `memory_bytes`: peak of the
    process. `bytes`: size of the trained weights; `trained` counts their parameters, `parameters` those of the whole model.
    """

    project: str
    id: str
    state: State
    created: str | None = None
    base: str | None = None
    dataset: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    loss: float | None = None
    best_step: int | None = None
    steps: int | None = None
    stopped_early: bool | None = None
    reading: str | None = None
    metric: str | None = None
    score: float | None = None
    score_ci: Sequence[float] | None = None
    gain: float | None = None
    gain_ci: Sequence[float] | None = None
    verdict: str | None = None
    loosened: Sequence[str] = ()
    evaluation: str | None = None
    look: int | None = None
    seconds: float | None = None
    memory_bytes: int | None = None
    bytes: int | None = None
    trained: int | None = None
    parameters: int | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The row as `tunesmith runs --json` prints it."""
        return dict(zip(_NAMES, _VALUES(self), strict=True))


_NAMES = tuple(f.name for f in fields(RunRow))
_VALUES = attrgetter(*_NAMES)
_OF_EVALUATION = ("metric", "score", "score_ci", "gain", "gain_ci", "verdict", "loosened", "look")


def find_projects(places: Sequence[Path]) -> list[Path]:
    """The projects at `places`: each itself, or those at most two folders below it. ArtifactError for a place without one."""
    found: dict[Path, None] = {}
    for place in places:
        here = [place] if (place / ".tunesmith").is_dir() else []
        below = sorted(p.parent for depth in ("*", "*/*") for p in place.glob(f"{depth}/.tunesmith") if p.is_dir())
        if not here and not below:
            raise ArtifactError(
                "no project here" if place.is_dir() else "no such folder",
                value=str(place),
                expected="a folder with .tunesmith, or one whose subfolders have it",
                hint="tunesmith run --source ./posts",
            )
        found |= dict.fromkeys(here or below)
    return list(found)


def rows_of(project: Path) -> tuple[list[RunRow], str]:
    """The runs of a project, newest first, and a note if its index could not be written."""
    root = project / ".tunesmith"
    facts, note = read_store(root)
    evaluations: dict[str, Facts] = {}
    for one in sorted((f for kind in ("evals", "agreements") for f in facts[kind].values() if "run" in f), key=_made):
        evaluations[one["run"]] = one  # the newest of several
    name = str(project)
    rows = [_row(name, folder, found, evaluations) for folder, found in facts["runs"].items()]
    rows += _unfinished(name, root / "work", {folder for folder, found in facts["runs"].items() if "damaged" not in found})
    return sorted(rows, key=lambda row: row.created or "", reverse=True), note


def _made(facts: Facts) -> str:
    return str(facts["created"])


def _row(project: str, folder: str, facts: Facts, evaluations: Mapping[str, Facts]) -> RunRow:
    if "damaged" in facts:
        return RunRow(project=project, id=folder, state="damaged", note=facts["damaged"])
    judged = evaluations.get(facts["id"])
    more = {name: judged[name] for name in _OF_EVALUATION} | {"evaluation": judged["id"]} if judged else {}
    return RunRow(project=project, state="done", **facts, **more)


def _unfinished(project: str, work: Path, done: set[str]) -> Iterator[RunRow]:
    """Runs that have a workspace and no artifact: being trained now, or interrupted."""
    for log in sorted(work.glob("*/metrics.jsonl")):
        folder = log.parent
        if folder.name in done:
            continue
        steps, loss, best = _progress(log)
        lives = is_held(folder / "holder")
        yield RunRow(
            project=project,
            id=folder.name,
            state="under way" if lives else "pruned" if (folder / "pruned").exists() else "interrupted",
            created=datetime.fromtimestamp(log.stat().st_mtime, UTC).isoformat(timespec="seconds"),
            loss=loss,
            best_step=best,
            steps=steps,
            note="" if lives else "stopped by a sweep" if (folder / "pruned").exists() else "the same command resumes it",
        )


def _progress(log: Path) -> tuple[int | None, float | None, int | None]:
    """Steps so far, the best validation loss and its step, of a log whose last line may be half written."""
    steps: int | None = None
    best: tuple[float, int] | None = None
    for line in log.read_bytes().split(b"\n"):
        try:
            row = orjson.loads(line)
            step = int(row["step"])
            loss = row.get("val_loss")
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        steps = max(steps or 0, step)
        if isinstance(loss, float) and (best is None or loss < best[0]):
            best = (loss, step)
    return steps, best and best[0], best and best[1]


def is_held(holder: Path) -> bool:
    """Whether the process that the file names still runs: it began before it wrote the file."""
    try:
        process = psutil.Process(int(holder.read_text(encoding="utf-8").split()[-1]))
        return bool(process.create_time() <= holder.stat().st_mtime + 1)
    except (OSError, ValueError, IndexError, psutil.Error):
        return False
