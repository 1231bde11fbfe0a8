"""The kinds of exports, a file each. To add one, add a file with a `CONTAINER`: it is found by being here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from tunesmith.data.ingest.container import Container

__all__ = ["all_containers"]


@cache
def all_containers() -> tuple[Container, ...]:
    """The container of each file in this folder, by name of the file."""
    names = sorted(module.name for module in iter_modules(__path__))
    return tuple(import_module(f"{__name__}.{name}").CONTAINER for name in names)
