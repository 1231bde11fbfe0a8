"""The options of chat templates that mean the same for every base: their names and defaults, also of the recipe."""

from __future__ import annotations

from datetime import date

__all__ = ["DATE", "ENABLE_THINKING", "OPTIONS"]

OPTIONS = ("enable_thinking", "date")
ENABLE_THINKING = False
DATE = date(2026, 1, 1)
