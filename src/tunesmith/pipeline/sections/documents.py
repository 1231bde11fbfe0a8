"""Settings of the documents stage: how sources are read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tunesmith.core.settings import Section

__all__ = ["FetchConfig"]


class FetchConfig(Section):
    """How web addresses are read. Fetched pages are cached in the project; only new or changed pages are fetched again."""

    delay_s: Annotated[float, Field(ge=0, le=600)] = 1.0
    """Seconds between two requests to the same host. If its robots.txt asks for a longer delay, that one is used."""
    max_pages: Annotated[int, Field(ge=0, le=50_000)] = 500
    """Maximum pages to fetch per source: the latest pages of a sitemap, or the full text of truncated feed entries."""
