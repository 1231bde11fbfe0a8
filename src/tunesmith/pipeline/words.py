"""Pieces of sentences that several stages use."""

from __future__ import annotations

from pathlib import Path

__all__ = ["page_of", "short"]


def short(source: str) -> str:
    """A source as it is read on one line: the end of a long path."""
    parts = Path(source).parts
    return source if len(source) <= 48 or "://" in source else str(Path("…", *parts[-2:]))


def page_of(path: str | Path) -> str:
    """What to open of an artifact: its page, or the folder if it has none."""
    page = Path(path) / "report.html"
    return str(page if page.is_file() else path)
