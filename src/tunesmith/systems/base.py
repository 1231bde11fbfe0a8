"""The base model without an adapter: the starting point of tuning and the reference of every comparison."""

from __future__ import annotations

from typing import Any

from tunesmith.systems.local import LocalSystem
from tunesmith.systems.system import SystemInputs, SystemKind
from tunesmith.systems.weights import adapted_weights

__all__ = ["SYSTEM"]


def _open(inputs: SystemInputs, model: Any) -> LocalSystem:
    return LocalSystem.of(
        inputs,
        model,
        name="base",
        label="base",
        fingerprint=inputs.base.fingerprint,
        adapter=False,
    )


SYSTEM = SystemKind(
    name="base",
    title="base",
    role="reference",
    order=10,
    advice="prompt",
    needs=("adapter",),
    load=adapted_weights,
    open=_open,
)
