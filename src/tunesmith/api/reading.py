"""Only the documents stage, for a recipe that is already open; it needs no model."""

from __future__ import annotations

from tunesmith.pipeline.reading import Documents, read_sources

__all__ = ["Documents", "read_sources"]
