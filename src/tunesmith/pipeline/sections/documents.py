"""Settings of the documents stage: how sources are read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tunesmith.core.records import Status
from tunesmith.core.settings import Section
from tunesmith.data.ingest.policy import Extra

__all__ = ["FetchConfig", "IngestConfig"]


class IngestConfig(Section):
    """Which texts of a source are taken. What is left out is counted by reason."""

    publication: Annotated[list[Status], Field(min_length=1)] = ["published"]
    """Which states are taken: published, draft, private, scheduled (dated in the future), protected (password) or deleted."""
    include: list[str] = []
    """Patterns of file names to read, such as `posts/*`. Empty: all files."""
    exclude: list[str] = []
    """Patterns of file names to leave out, such as `notes` or `*.draft.md`."""
    extras: list[Extra] = []
    """What is otherwise left out: `model-answers` (in exports of ChatGPT or Claude; you learn the style of that model),
    `quotations` (in exports of Reddit), and `replies` (your own short public replies)."""


class FetchConfig(Section):
    """How web addresses are read. Fetched pages are cached in the project; only new or changed pages are fetched again."""

    delay_s: Annotated[float, Field(ge=0, le=600)] = 1.0
    """Seconds between two requests to the same host. If its robots.txt asks for a longer delay, that one is used."""
    max_pages: Annotated[int, Field(ge=0, le=50_000)] = 500
    """Maximum pages to fetch per source: the latest pages of a sitemap, or the full text of truncated feed entries."""
