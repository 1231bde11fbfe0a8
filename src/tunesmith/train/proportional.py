"""Which adapters can be scaled: those whose update begins at zero and is a product of two matrices. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["proportional"]


class _Adapter(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def init(self) -> str: ...
    @property
    def modules(self) -> Sequence[str]: ...
    @property
    def continued(self) -> str: ...


def proportional(adapter: _Adapter) -> bool:
    """Whether what is learned begins at zero and is proportional to the second matrices of the adapter."""
    plain = adapter.kind in ("lora", "rslora") and adapter.init in ("default", "eva")
    return plain and not adapter.modules and not adapter.continued
