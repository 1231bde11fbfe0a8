"""The tuned model: the base with its adapter applied at run time. The verdict is about this system."""

from __future__ import annotations

from typing import Any

from tunesmith.core.records import digest
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.system import SystemInputs, SystemKind
from tunesmith.systems.weights import adapted_weights, adapter_fingerprint

__all__ = ["SYSTEM"]


def _open(inputs: SystemInputs, model: Any) -> LocalSystem:
    return LocalSystem.of(
        inputs,
        model,
        name="tuned",
        label="tuned: base and adapter",
        fingerprint=digest(inputs.base.fingerprint, adapter_fingerprint(inputs)),
    )


SYSTEM = SystemKind(
    name="tuned",
    title="tuned",
    role="subject",
    order=30,
    advice="tune",
    needs=("adapter",),
    load=adapted_weights,
    open=_open,
)
