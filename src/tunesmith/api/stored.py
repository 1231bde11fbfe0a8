"""`show` and `path`: find the artifacts of a project."""

from __future__ import annotations

from pathlib import Path

from tunesmith.core.artifacts import Artifact, Store

__all__ = ["artifact", "artifacts"]


def artifacts(*, project: str | Path = ".") -> tuple[Artifact, ...]:
    """Every complete artifact of a project, oldest first."""
    return tuple(Store(Path(project) / ".tunesmith").all())


def artifact(id: str, *, project: str | Path = ".") -> Artifact:
    """The artifact with these first digits, or the latest of a kind (`run:latest`). ArtifactError unless exactly one."""
    return Store(Path(project) / ".tunesmith").resolve(id)
