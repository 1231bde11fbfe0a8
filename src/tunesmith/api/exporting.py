"""`export`: the tuned model in a format that other engines read, and the verdict on exactly that file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.pipeline.exporting import check_target, exports_of, make_export, publish_files, recommended
from tunesmith.pipeline.finished import finished_run
from tunesmith.ship.format import find_format, format_kinds

__all__ = ["ExportResult", "ExportTable", "export", "export_formats", "export_table"]

_EXIT = {"pass": 0, "fail": 2, "not measured": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """One exported form. `folder`: where its files are; `report`: the page of its own verdict, empty if it was not judged."""

    artifact: Artifact
    folder: Path
    report: str

    @property
    def state(self) -> str:
        """Whether the form is as good as the adapter that was tested: pass, fail, not measured."""
        return str(self.artifact.numbers["state"])

    @property
    def exit_code(self) -> int:
        """0 pass, 2 fail, 3 not measured."""
        return _EXIT[self.state]

    @property
    def file(self) -> Path:
        """What an engine opens: a file, or the folder itself."""
        return self.folder / str(self.artifact.numbers["main"])

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith export --json` prints for one form."""
        numbers = {name: value for name, value in self.artifact.numbers.items() if name != "main"}
        return {"export": self.artifact.id, "file": str(self.file), **numbers, "report": self.report}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTable:
    """All exported forms of a run, smallest first. `recommended`: the smallest that ends in SHIP and is as good as the adapter;
    None if none is known to be."""

    rows: tuple[ExportResult, ...]
    recommended: ExportResult | None

    @property
    def exit_code(self) -> int:
        """0 with a form to ship, 2 if every form was judged and none is, 3 if one was not measured or there is none."""
        if self.recommended is not None:
            return 0
        return 2 if self.rows and all(row.state != "not measured" for row in self.rows) else 3

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith export --table --json` prints."""
        best = self.recommended
        return {
            "forms": [row.as_dict() for row in self.rows],
            "recommended": None if best is None else {"form": best.as_dict()["form"], "quant": best.as_dict()["quant"]},
        }


def export(
    run: str = "run:latest",
    *,
    to: str,
    quant: str = "",
    out: str | Path | None = None,
    judged: bool = True,
    project: str | Path = ".",
    reporter: Reporter | None = None,
) -> ExportResult:
    """Write the tuned model of a run in the format `to`, and put the evaluation's own questions to the file that ships.

    `run`: the first digits of an id, or `run:latest`. `quant`: one that the format offers, its default if empty. `out`: a new
    folder for a copy of the files, with `export.json` that holds hashes, figures and marks. `judged`: False only
    writes, and leaves the form *not measured*.

    Raises:
        ArtifactError: no such run.
        EngineError: the engine ends while it answers.
        EvaluationError: an unknown format or quantisation.
        ModelError: a model that the format cannot hold.
        StorageError: `out` is not empty, or the disk is full.
    """
    form = find_format(to)
    if out is not None:
        check_target(Path(out))
    found = finished_run(Store(Path(project) / ".tunesmith"), run)
    made = make_export(found, form, form.checked_quant(quant), judged=judged, reporter=reporter or SilentReporter())
    if out is None:
        return _result(made)
    publish_files(made, Path(out))
    return _result(made, Path(out))


def export_table(run: str = "run:latest", *, project: str | Path = ".") -> ExportTable:
    """What was exported of a run so far: of each format and quantisation the newest. ArtifactError for an unknown run."""
    of = finished_run(Store(Path(project) / ".tunesmith"), run)
    found = exports_of(of)
    best = recommended(found, of.evaluation)
    return ExportTable(rows=tuple(map(_result, found)), recommended=None if best is None else _result(best))


def export_formats() -> dict[str, Sequence[str]]:
    """Every format, and the quantisations that it offers."""
    return {one.name: one.quants for one in format_kinds()}


def _result(made: Artifact, folder: Path | None = None) -> ExportResult:
    page = made.path / "report.html"
    return ExportResult(artifact=made, folder=folder or made.path / "files", report=str(page) if page.is_file() else "")
