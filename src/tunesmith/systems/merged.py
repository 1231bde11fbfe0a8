"""The merged folder, loaded again and computed in float32: whether the stored model is the tuned model."""

from __future__ import annotations

from typing import Any

from tunesmith.core.records import digest
from tunesmith.models.load import stored_types
from tunesmith.models.merge import share_as_summed
from tunesmith.models.settings import folder_differences
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.system import FormFacts, GateWords, SystemInputs, SystemKind
from tunesmith.systems.weights import adapted_weights, adapter_fingerprint, merged_weights, needed_merged, stored_type

__all__ = ["SYSTEM"]


def _open(inputs: SystemInputs, model: Any) -> LocalSystem:
    merged = needed_merged(inputs)
    return LocalSystem.of(
        inputs,
        model,
        name="merged",
        label="merged",
        fingerprint=digest("merged", merged.fingerprint, adapter_fingerprint(inputs)),
    )


def _facts(inputs: SystemInputs, model: Any) -> FormFacts:
    """The base is opened once more for the sums: keys and values of answers, which take as much, are gone by now."""
    merged = needed_merged(inputs)
    return FormFacts(
        stored=stored_type(merged),
        as_summed=share_as_summed(adapted_weights(inputs), model, list(stored_types(merged.weights))),
        differences=folder_differences(inputs.base, merged, inputs.chat.end_ids),
    )


SYSTEM = SystemKind(
    name="merged",
    title="merged",
    role="form",
    order=40,
    needs=("adapter", "merged_folder"),
    load=merged_weights,
    open=_open,
    facts=_facts,
    gate=GateWords(
        name="parity",
        rule="merged model against the tuned one",
        failed="The merged model differs from the model that was tested, so the model to ship was not measured.",
        unknown="Whether the merged model is the model that was tested was not checked.",
        topic="whether the merged model is the tuned one",
    ),
)
