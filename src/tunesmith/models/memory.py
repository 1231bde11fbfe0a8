"""The free memory of a model's device, and freeing what is no longer used."""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import cache
from typing import Any

import psutil
import torch

__all__ = ["free_bytes", "release_memory"]


def free_bytes(device: torch.device) -> int:
    """Bytes that can be taken now on `device` without swapping."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def release_memory() -> None:
    """Give memory that no object uses back to the system, for the stage that comes next.

    Models are freed in reference cycles, and glibc keeps what was freed between two living blocks: gigabytes after a training
    run. Not for every step: pages given back must be fetched again.
    """
    gc.collect()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> Any:
    """The C library, where it can give memory back; None elsewhere (macOS and musl do so by themselves, or not at all)."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") else None
