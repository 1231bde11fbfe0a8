"""The systems of an audit: the base alone, and a model that was trained elsewhere in the place of the tuned one.

They are no systems of a pipeline, so none is declared as `SYSTEM`: an audit names those that it measures.
"""

from __future__ import annotations

from typing import Any

from tunesmith.core.errors import GeneratorError
from tunesmith.data.synth.endpoint import Wording
from tunesmith.models.load import load_model
from tunesmith.systems.addressed import ModelAtAddress
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.registry import kind_of
from tunesmith.systems.system import NotMeasured, SystemInputs, SystemKind
from tunesmith.systems.weights import merged_weights, needed_merged

__all__ = ["kinds_for"]

_WORDS = Wording(
    "the audited server", "bigger", "everything is measured again", "--adapter or --model audits files in place of a server"
)


def kinds_for(inputs: SystemInputs) -> tuple[SystemKind, ...]:
    """The base and the audited model: an adapter on that base, a model folder, or what answers at an address."""
    if inputs.adapter is not None:
        return tuple(kind for kind in map(kind_of, ("base", "tuned")) if kind is not None)
    return (_BASE, _FOLDER if inputs.merged_folder is not None else _SERVER)


def _base_weights(inputs: SystemInputs) -> Any:
    return load_model(inputs.base, "float32")


def _open_base(inputs: SystemInputs, model: Any) -> LocalSystem:
    return LocalSystem.of(inputs, model, name="base", label="base", fingerprint=inputs.base.fingerprint)


def _open_folder(inputs: SystemInputs, model: Any) -> LocalSystem:
    folder = needed_merged(inputs)
    label = f"audited: model folder {folder.path.name}"
    return LocalSystem.of(inputs, model, name="tuned", label=label, fingerprint=folder.fingerprint)


def _open_server(inputs: SystemInputs, _: Any) -> ModelAtAddress | NotMeasured:
    if inputs.address is None:
        return NotMeasured("no address is given")
    try:
        return ModelAtAddress(inputs.address, name="tuned", words=_WORDS)
    except GeneratorError as error:
        return NotMeasured(str(error))


_BASE = SystemKind(name="base", title="base", role="reference", order=10, load=_base_weights, open=_open_base)
_FOLDER = SystemKind(name="tuned", title="tuned", role="subject", order=30, load=merged_weights, open=_open_folder)
_SERVER = SystemKind(name="tuned", title="tuned", role="subject", order=30, open=_open_server, required=False)
