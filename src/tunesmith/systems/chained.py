"""The systems of a whole chain: the base that it began with, its cheaper alternatives, and the merged models of the stages.

The model after the last stage is what the verdict is about. They are no systems of every pipeline, so none is declared as
`SYSTEM`: a chain names those that it measures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from tunesmith.models.load import BaseFolder, load_model
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.registry import baseline_kinds, by_role
from tunesmith.systems.system import SystemInputs, SystemKind
from tunesmith.systems.weights import merged_weights, needed_merged

__all__ = ["chain_kinds", "stage_system"]


def stage_system(name: str) -> str:
    """The name under which the model after a stage is measured."""
    return f"stage_{name}"


def chain_kinds(baselines: Iterable[str], between: Mapping[str, BaseFolder]) -> tuple[SystemKind, ...]:
    """The base and the `baselines` on its plain weights, the models after the stages `between` first and last, and the last
    one, which `merged_folder` of the inputs is. RecipeError for a baseline that does not exist."""
    plain = [
        replace(kind, needs=(), load=None if kind.load is None else _base_weights)
        for kind in (*by_role("reference"), *baseline_kinds(baselines))
    ]
    stages = [
        SystemKind(
            name=stage_system(name),
            title=f"stage {name}",
            role="addition",
            order=25,
            load=partial(_weights_of, folder),
            open=partial(_open_stage, name, folder),
            required=False,
        )
        for name, folder in between.items()
    ]
    return (*plain, *stages, _LAST)


def _base_weights(inputs: SystemInputs) -> Any:
    return load_model(inputs.base, "float32")


def _weights_of(folder: BaseFolder, inputs: SystemInputs) -> Any:
    return load_model(folder, "float32")


def _open_stage(name: str, folder: BaseFolder, inputs: SystemInputs, model: Any) -> LocalSystem:
    label = f"the model after the stage {name}"
    return LocalSystem.of(inputs, model, name=stage_system(name), label=label, fingerprint=folder.fingerprint)


def _open_last(inputs: SystemInputs, model: Any) -> LocalSystem:
    label = "tuned: the merged model after the last stage"
    return LocalSystem.of(inputs, model, name="tuned", label=label, fingerprint=needed_merged(inputs).fingerprint)


_LAST = SystemKind(name="tuned", title="tuned", role="subject", order=30, load=merged_weights, open=_open_last)
