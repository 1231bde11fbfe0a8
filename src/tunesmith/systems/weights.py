"""The copies of weights that the systems use. Systems that name the same function share one copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunesmith.models.load import BaseFolder, StoredType, load_model, stored_types
from tunesmith.models.tuned import open_tuned, tuned_fingerprint
from tunesmith.systems.system import SystemInputs

__all__ = [
    "adapted_weights",
    "adapter_fingerprint",
    "merged_weights",
    "needed_adapter",
    "needed_merged",
    "served_type",
    "served_weights",
    "stored_type",
]


def adapted_weights(inputs: SystemInputs) -> Any:
    """The base in float32 under its adapter, or under the whole model that was trained from it, which can be switched off."""
    return open_tuned(load_model(inputs.base, "float32"), needed_adapter(inputs))


def merged_weights(inputs: SystemInputs) -> Any:
    """The merged folder, computed in float32 whatever it stores."""
    return load_model(needed_merged(inputs), "float32")


def served_weights(inputs: SystemInputs) -> Any:
    """The merged folder in the 16-bit type in which servers open it."""
    return load_model(needed_merged(inputs), served_type(needed_merged(inputs)))


def stored_type(folder: BaseFolder) -> StoredType:
    """The type in which most of its weights are stored."""
    return stored_types(folder.weights).most_common(1)[0][0]


def served_type(folder: BaseFolder) -> StoredType:
    """The 16-bit type in which servers open it: the stored one, or bfloat16."""
    return "float16" if stored_type(folder) == "float16" else "bfloat16"


def adapter_fingerprint(inputs: SystemInputs) -> str:
    """The hash of what was trained."""
    return tuned_fingerprint(needed_adapter(inputs))


def needed_adapter(inputs: SystemInputs) -> Path:
    """The adapter; systems that come here declare `needs=("adapter",)`."""
    if inputs.adapter is None:
        raise AssertionError("opened without the adapter that it declares to need")
    return inputs.adapter


def needed_merged(inputs: SystemInputs) -> BaseFolder:
    """The merged folder; systems that come here declare `needs=("merged_folder",)`."""
    if inputs.merged_folder is None:
        raise AssertionError("opened without the merged folder that it declares to need")
    return inputs.merged_folder
