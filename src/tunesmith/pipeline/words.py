"""Pieces of sentences that several stages use."""

from __future__ import annotations

from pathlib import Path

from tunesmith.core.artifacts import Artifact

__all__ = ["folder_or_page", "short"]


def short(source: str) -> str:
    """A source as it is read on one line: the end of a long path."""
    parts = Path(source).parts
    return source if len(source) <= 48 or "://" in source else str(Path("…", *parts[-2:]))


def folder_or_page(artifact: Artifact) -> str:
    """What to open of an artifact."""
    page = artifact.path / "report.html"
    return str(page if page.is_file() else artifact.path)
