"""What a run trained, found and opened: an adapter for its base, or a whole model where all weights moved.

Both answer as one model that holds the base as well: `without_adapter` gives the base, whichever of the two it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tunesmith.core.files import sha256_file
from tunesmith.core.records import digest
from tunesmith.models.adapters import open_adapter
from tunesmith.models.foreign_adapters import CONFIG, WEIGHTS, checked_adapter
from tunesmith.models.load import find_base, load_model
from tunesmith.models.whole import Whole

__all__ = ["checked_tuned", "is_whole", "open_tuned", "tuned_fingerprint", "tuned_folder"]

_ADAPTER, _MODEL = "adapter", "model"


def tuned_folder(run: Path) -> Path:
    """Where the result is in the folder of a run: `model`, if the run trained a whole model, else `adapter`."""
    return run / _MODEL if (run / _MODEL).is_dir() else run / _ADAPTER


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a whole model, and not an adapter."""
    return (folder / "config.json").is_file() and not (folder / CONFIG).is_file()


def tuned_fingerprint(folder: Path) -> str:
    """The hash of what was trained: of the two files of an adapter, or of the weights of a whole model."""
    if is_whole(folder):
        return find_base(str(folder), offline=True).fingerprint
    return digest(sha256_file(folder / WEIGHTS), sha256_file(folder / CONFIG))


@contextmanager
def checked_tuned(folder: Path) -> Iterator[Path]:
    """The folder as `open_tuned` takes it, after a check that nothing is left out (see `checked_adapter`)."""
    if is_whole(folder):
        yield folder
        return
    with checked_adapter(folder) as usable:
        yield usable


def open_tuned(model: Any, folder: Path) -> Any:
    """The base `model` together with what a run trained from it, for use. ModelError if it does not fit the base."""
    if not is_whole(folder):
        return open_adapter(model, folder)
    trained = load_model(find_base(str(folder), offline=True), _type_name(model.dtype))
    return Whole(model, dict(trained.named_parameters()))


def _type_name(dtype: torch.dtype) -> Any:
    return str(dtype).removeprefix("torch.")
