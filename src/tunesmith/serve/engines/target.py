"""A model of an engine that holds a base and its adapters."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.models.chat import Chat
from tunesmith.models.generation.requests import Sampling
from tunesmith.serve.engines.adapter_files import AdapterFiles

__all__ = ["Target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The base (`adapter` None) or an adapter of it, its chat format, and the sampling settings that hold where a request does
    not say otherwise."""

    chat: Chat
    sampling: Sampling
    adapter: AdapterFiles | None = None

    @property
    def key(self) -> str:
        """Of the adapter; empty for the base."""
        return "" if self.adapter is None else self.adapter.key
