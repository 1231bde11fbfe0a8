"""A run as it is asked for: what is trained, how, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.models.chat import Chat
from tunesmith.models.load import BaseFolder, PrecisionName
from tunesmith.train.method import Method
from tunesmith.train.settings import AdapterSettings, TrainSettings

__all__ = ["Order", "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run happens: `workspace` keeps what resuming needs, `out` takes the result, `run_id` guards against mix-ups."""

    run_id: str
    workspace: Path
    out: Path


@dataclass(frozen=True, slots=True)
class Order:
    """A run as it is asked for: what `train_adapter` takes, for all processes that make it."""

    base: BaseFolder
    chat: Chat
    examples: Mapping[str, Sequence[Any]]
    objective: Method
    method: AdapterSettings
    train: TrainSettings
    precision: PrecisionName
    place: Place
