"""The merged folder as servers open it, in 16 bits: what that rounding costs. Reported, but never decides."""

from __future__ import annotations

from typing import Any

from tunesmith.core.records import digest
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.system import FormFacts, GateWords, SystemInputs, SystemKind
from tunesmith.systems.weights import needed_merged, served_type, served_weights, stored_type

__all__ = ["SYSTEM"]


def _open(inputs: SystemInputs, model: Any) -> LocalSystem:
    merged = needed_merged(inputs)
    kind = served_type(merged)
    return LocalSystem.of(
        inputs,
        model,
        name="served",
        label=f"merged, opened in {kind}",
        fingerprint=digest("served", kind, merged.fingerprint),
    )


def _facts(inputs: SystemInputs, _: Any) -> FormFacts:
    return FormFacts(stored=stored_type(needed_merged(inputs)))


SYSTEM = SystemKind(
    name="served",
    title="merged, as served",
    role="form",
    order=50,
    needs=("adapter", "merged_folder"),
    load=served_weights,
    open=_open,
    facts=_facts,
    listed=False,
    num_greedy=4,  # a processor without 16-bit products takes ten times as long over these
    num_rows=8,
    required=False,
    gate=GateWords(
        name="served",
        rule="merged model in 16 bits, as servers open it, against the tuned one",
        failed="The merged model changes when it is opened in 16 bits, as servers do.",
        unknown="The merged model was not opened in 16 bits, as servers do.",
        topic="what opening the merged model in 16 bits costs",
    ),
)
