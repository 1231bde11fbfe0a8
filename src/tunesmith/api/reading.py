"""The documents stage alone, for a recipe that is open already; it needs no model."""

from __future__ import annotations

from tunesmith.pipeline.reading import Documents, read_sources

__all__ = ["Documents", "read_sources"]
