"""`show` and `path`: the artifacts of a project, found again."""

from __future__ import annotations

from pathlib import Path

from tunesmith.core.artifacts import Artifact, Store

__all__ = ["artifact", "artifacts"]


def artifacts(*, project: str | Path = ".") -> tuple[Artifact, ...]:
    """Every whole artifact of a project, oldest first."""
    return tuple(Store(Path(project) / ".tunesmith").all())


def artifact(id: str, *, project: str | Path = ".") -> Artifact:
    """The artifact of these first digits, or the newest of a kind (`run:latest`). ArtifactError if it is none or several."""
    return Store(Path(project) / ".tunesmith").resolve(id)
