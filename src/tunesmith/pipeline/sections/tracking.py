"""Settings of mirrors: trackers of experiments that get a copy of each run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, field_validator

from tunesmith.core.settings import Section, plain_address

__all__ = ["TRACKERS", "TrackerName", "TrackingConfig"]

TrackerName = Literal["mlflow", "trackio", "wandb", "tensorboard"]
TRACKERS: Mapping[str, str] = MappingProxyType(
    {"mlflow": "mlflow", "trackio": "trackio", "wandb": "wandb", "tensorboard": "tensorboard"}
)
"""The package of each tracker by its name."""


class TrackingConfig(Section):
    """Trackers that get a copy of each run while it is trained, when it is done and when it is judged. No run depends on
    them."""

    to: list[TrackerName] = []
    """Trackers by name: `mlflow`, `trackio`, `wandb` (offline), `tensorboard`. Each needs its extra (`pip install
    'tunesmith[mlflow]'`) and writes to `.tunesmith/trackers`. They get settings, numbers and curves, never texts."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "tunesmith"
    """Name of the experiment or project in the trackers."""
    mlflow_url: str = ""
    """Address of an MLflow server, such as http://127.0.0.1:5000. Empty: an SQLite file in the project, and nothing is sent."""

    @field_validator("mlflow_url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        return plain_address(url)
