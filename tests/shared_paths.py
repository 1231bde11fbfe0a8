"""Where the shared material lies; a test that needs it is skipped where it is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["material"]

_SHARED = Path(os.environ.get("TUNESMITH_SHARED", Path(__file__).parents[2] / "shared")) / "data"


def material(name: str) -> Path:
    path = _SHARED / name
    if not path.exists():
        pytest.skip(f"needs the shared material: {path} (set TUNESMITH_SHARED)")
    return path
