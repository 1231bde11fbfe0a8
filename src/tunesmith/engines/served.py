"""What is served, and by which Python: hashes of model folders, and the environments of engines that need one of their own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tunesmith.core.errors import EngineError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import digest

__all__ = ["folder_hash", "python_of"]


def folder_hash(folder: Path) -> str:
    """Of the names and contents of all files of a model or adapter folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest(*(part for path in files for part in (path.relative_to(folder).as_posix(), sha256_file(path))))


def python_of(variable: str, *, engine: str, install: str) -> str:
    """The Python in which an engine is installed, named by an environment variable. EngineError if there is none."""
    value = os.environ.get(variable, "")
    found = shutil.which(value) if value else None
    if found is None:
        raise EngineError(
            f"{engine} needs a Python environment of its own",
            value=f"{variable}={value}",
            expected="the Python of that environment",
            hint=f"{install}, then: export {variable}=/path/to/that/bin/python",
        )
    return found
