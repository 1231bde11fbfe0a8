"""What cannot be divided among processes yet, said before the run begins."""

from __future__ import annotations

from typing import Any

from tunesmith.core.errors import TrainingError
from tunesmith.train.method import Method, Sampled, Signalled, Taught, method_name
from tunesmith.train.processes import Processes
from tunesmith.train.settings import AdapterSettings, TrainSettings

__all__ = ["refuse_undivided"]

_OPTIMIZERS = ("adamw", "lion")  # they treat each number of a tensor alike, so a part of it is enough


def refuse_undivided(objective: Method, method: AdapterSettings, train: TrainSettings, processes: Processes) -> None:
    """TrainingError for a recipe that works in one process only, where there are several."""
    if processes.count == 1:
        return
    if train.backend != "torch":
        raise _undivided(f"train.backend {train.backend}", "steps that torch makes", "train.backend=torch")
    if isinstance(objective, (Sampled, Signalled, Taught)):  # answers, numbers of a whole batch, or a teacher
        expected = "an objective that learns each row of a fixed dataset by itself"
        raise _undivided(f"objective.kind {method_name(objective)}", expected, "objective.kind=sft")
    if method.quantise != "none":
        raise _undivided(f"method.quantise {method.quantise}", "a base that is not quantised", "method.quantise=none")
    if method.kind == "adalora":
        raise _undivided("method.kind adalora", "an adapter whose ranks stay where they are", "method.kind=lora")
    if method.modules:
        raise _undivided(f"method.modules {method.modules}", "an adapter alone", "method.modules=[]")
    if method.init in ("pissa", "olora"):
        raise _undivided(f"method.init {method.init}", "method.init default or eva", "method.init=default")
    if train.optimizer not in _OPTIMIZERS:
        raise _undivided(f"train.optimizer {train.optimizer}", f"one of {', '.join(_OPTIMIZERS)}", "train.optimizer=adamw")
    if train.optimizer_states != "memory":
        raise _undivided(
            f"train.optimizer_states {train.optimizer_states}", "states in memory", "train.optimizer_states=memory"
        )
    if train.ewc:
        raise _undivided(f"train.ewc {train.ewc:g}", "weights that nothing holds", "train.ewc=0")
    if train.compile is True:
        raise _undivided("train.compile true", "layers that are not compiled", "train.compile=false")


def _undivided(value: Any, expected: str, setting: str) -> TrainingError:
    return TrainingError(
        "this run cannot be divided among processes",
        value=value,
        expected=f"{expected}, or one process",
        hint=f"--set {setting}, or the same command without --processes",
    )
