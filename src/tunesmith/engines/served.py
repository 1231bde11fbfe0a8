"""What is served, and by which Python: hashes of model folders, and the environments of engines that need one of their own."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from tunesmith.core.errors import EngineError, ModelError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import digest

__all__ = ["environment_of", "folder_hash", "python_of"]


def folder_hash(folder: Path) -> str:
    """Of the names and contents of all files of a model or adapter folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest(*(part for path in files for part in (path.relative_to(folder).as_posix(), sha256_file(path))))


def python_of(
    variable: str, *, engine: str, install: str, package: str = "", error: type[EngineError | ModelError] = EngineError
) -> str:
    """The Python in which an engine or a tool is installed: the one that an environment variable names, or this one if it is
    not set and `package` is here. `error` if there is none."""
    value = os.environ.get(variable, "")
    if not value and package and find_spec(package) is not None:
        return sys.executable
    found = shutil.which(Path(value).expanduser()) if value else None
    if found is None:
        raise error(
            f"{engine} needs a Python environment of its own",
            value=f"{variable}={value}",
            expected="the Python of that environment",
            hint=f"{install}, then: export {variable}=/path/to/that/bin/python",
        )
    return found


def environment_of(python: str) -> dict[str, str]:
    """The environment of a program that runs in `python`, with no network: another Python must not see packages of this one."""
    return {"HF_HUB_OFFLINE": "1"} | ({} if python == sys.executable else {"PYTHONPATH": ""})
