"""What this machine has, as far as the plan needs it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

__all__ = ["Hardware", "look"]


@dataclass(frozen=True, slots=True)
class Hardware:
    """Cores that this process may use, and memory in bytes that is free now."""

    cores: int
    free_bytes: int


def look() -> Hardware:
    """Read the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Hardware(cores, int(psutil.virtual_memory().available))
