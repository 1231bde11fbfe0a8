"""One file for each kind of file that is read. To add a kind, add a file with a `READER`: it is found by being here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from tunesmith.data.ingest.item import Kind
from tunesmith.data.ingest.reader import Reader

__all__ = ["all_readers", "reader_of"]


@cache
def all_readers() -> tuple[Reader, ...]:
    """The reader of each file in this folder, by name of the file."""
    names = sorted(module.name for module in iter_modules(__path__))
    return tuple(import_module(f"{__name__}.{name}").READER for name in names)


def reader_of(kind: Kind) -> Reader | None:
    """The reader of a kind, or None if `read_item.py` reads it itself, as it does kinds that bear on how files are gathered."""
    return next((reader for reader in all_readers() if reader.kind == kind), None)
