"""What a run trained, found and opened: an adapter for its base, or a whole model where all weights moved.

Both answer as one model that holds the base as well: `without_adapter` gives the base, whichever of the two it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import torch

from tunesmith.core.errors import ModelError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import digest
from tunesmith.models.adapters import open_adapter
from tunesmith.models.foreign_adapters import CONFIG, WEIGHTS, checked_adapter
from tunesmith.models.kept_modules import open_with_modules, with_modules
from tunesmith.models.load import find_base, load_model
from tunesmith.models.whole import Whole

__all__ = ["HEAD_FACTS", "checked_tuned", "is_whole", "open_tuned", "refuse_scorer", "tuned_fingerprint", "tuned_folder"]

_ADAPTER, _MODEL = "adapter", "model"
HEAD_FACTS = "head.json"  # of a method with a head of its own; `writes`: whether its model writes answers


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


def refuse_scorer(folder: Path) -> None:
    """ModelError if what was trained in `folder` scores answers and writes none: a reward model."""
    facts = folder / HEAD_FACTS
    if facts.is_file() and orjson.loads(facts.read_bytes()).get("writes") is False:
        raise ModelError(
            "this is a reward model: it scores answers and writes none",
            value=str(folder),
            expected="a model that was trained to write answers",
            hint="use it as a reward ({reward_model: FOLDER} in objective.rewards), or from Python: open_reward_model",
        )


@contextmanager
def checked_tuned(folder: Path) -> Iterator[Path]:
    """The folder as `open_tuned` takes it, after a check that nothing is left out (see `checked_adapter`)."""
    if is_whole(folder):
        yield folder
        return
    with checked_adapter(folder, with_modules=True) as usable:
        yield usable


def open_tuned(model: Any, folder: Path) -> Any:
    """The base `model` together with what a run trained from it, for use. ModelError if it does not fit the base, or if it
    writes no answers."""
    refuse_scorer(folder)
    if not is_whole(folder):
        return open_with_modules(model, folder) if with_modules(folder) else open_adapter(model, folder)
    trained = load_model(find_base(str(folder), offline=True), _type_name(model.dtype))
    return Whole(model, dict(trained.named_parameters()))


def _type_name(dtype: torch.dtype) -> Any:
    return str(dtype).removeprefix("torch.")
