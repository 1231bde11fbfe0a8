"""What the promise of equal bytes hangs on: the machine, its threads and the versions of the libraries that calculate."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

__all__ = ["differences", "machine_facts"]

_LIBRARIES = ("torch", "numpy", "transformers", "peft", "tokenizers", "safetensors")


def machine_facts() -> dict[str, str]:
    """Facts of this process that change the last digits of a result, as name and value."""
    facts = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
    }
    return facts | _versions()


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is not the same now, as `name was … and is …`."""
    names = [*then, *(name for name in now if name not in then)]
    return [
        f"{name} was {then.get(name, 'not recorded')} and is {now.get(name, 'not known')}"
        for name in names
        if then.get(name) != now.get(name)
    ]


@cache
def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


@cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
