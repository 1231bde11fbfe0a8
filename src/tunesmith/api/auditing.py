"""`audit`: the verdict on a model that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from tunesmith.api.pipeline import PipelineOptions, single_project

if TYPE_CHECKING:  # what loads torch is imported when it is used
    from tunesmith.pipeline.outcome import Outcome
    from tunesmith.pipeline.project import Project

__all__ = ["audit", "audit_project"]


def audit(
    *sources: str | Path,
    adapter: str | Path | None = None,
    model: str | Path = "",
    url: str = "",
    model_name: str = "",
    suite: str | Path = "",
    **options: Unpack[PipelineOptions],
) -> Outcome:
    """Judge somebody else's adapter, model folder or server against the base, on your documents or on the items of a suite.

    Exactly one of `adapter` (peft or mlx-lm files), `model` (a folder) and `url` (with `model_name`) is given. What only the
    maker of the model can know is not measured, and `verdict.not_measured` names it. The `options` are those of `run`.

    Raises:
        EvaluationError: not one model to audit, or nothing to ask it.
        ModelError: an adapter that is pickled, incomplete, zero or made for another base; a model that cannot be opened.
    """
    project = single_project(*(sources or ([suite] if suite else [])), **options)
    return audit_project(project, adapter=adapter, model=model, url=url, model_name=model_name, suite=suite)


def audit_project(
    project: Project,
    *,
    adapter: str | Path | None = None,
    model: str | Path = "",
    url: str = "",
    model_name: str = "",
    suite: str | Path = "",
) -> Outcome:
    """The same for a project that is open: its base, its sources and its settings. Errors as `audit`."""
    from tunesmith.pipeline.audited_model import Subject
    from tunesmith.pipeline.auditing import audit as judge

    subject = Subject(adapter=Path(adapter) if adapter else None, model=str(model), url=url, model_name=model_name)
    return judge(project, subject, suite=str(suite))
