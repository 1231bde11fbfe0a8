"""The cores and the free memory of this machine, for the plan."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Hardware", "is_busy", "measure_hardware"]

_PRESSURE = Path("/proc/pressure/cpu")
_WAITING = 30.0  # per cent of the last ten seconds in which some work waited for a processor
_LOAD = 1.5  # running programs per core over the last minute, where the system does not say how long they wait


@dataclass(frozen=True, slots=True)
class Hardware:
    """Cores that this process may use, memory in bytes that is free now, and whether other work keeps the cores busy."""

    cores: int
    free_bytes: int
    busy: bool = False


def measure_hardware() -> Hardware:
    """The cores that this process may use, the memory that is free now, and whether the machine is busy."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Hardware(cores, int(psutil.virtual_memory().available), is_busy(cores))


def is_busy(cores: int, pressure: Path = _PRESSURE) -> bool:
    """Whether other work is waiting for a processor, so that anything timed now takes longer than it would alone."""
    try:
        found = re.search(r"some avg10=([\d.]+)", pressure.read_text(encoding="ascii"))
    except OSError:
        found = None
    return float(found[1]) > _WAITING if found else psutil.getloadavg()[0] > _LOAD * cores
