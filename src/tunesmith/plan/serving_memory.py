"""Memory of a model that answers: weights in a format, and keys and values of what it has read."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.plan.formats import FORMATS
from tunesmith.plan.memory import LIBRARIES
from tunesmith.plan.weights import Anatomy

__all__ = ["ServingMemory", "kv_cache_bytes", "serving_memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingMemory:
    """Bytes of one format. `bits_per_weight`: of the weights alone, over all parameters."""

    format: str
    bits_per_weight: float
    weights: int
    kv_cache: int
    libraries: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.kv_cache + self.libraries


def kv_cache_bytes(anatomy: Anatomy, *, context: int, requests: int, number_bytes: int = 2) -> int:
    """2 × key heads × head width × numbers' size, for each layer, request and token within the layer's window."""
    tokens = sum(min(context, window) if window else context for window in anatomy.windows)
    return 2 * anatomy.kv_heads * anatomy.head_dim * number_bytes * tokens * requests


def serving_memory(anatomy: Anatomy, *, context: int, requests: int, number_bytes: int = 2) -> tuple[ServingMemory, ...]:
    """Every format, largest first, with the cache of `requests` texts of `context` tokens at once."""
    cache = kv_cache_bytes(anatomy, context=context, requests=requests, number_bytes=number_bytes)
    rows = [
        ServingMemory(
            format=name,
            bits_per_weight=8 * size / anatomy.num_parameters,
            weights=size,
            kv_cache=cache,
            libraries=LIBRARIES,
        )
        for name, count in FORMATS.items()
        for size in [count(anatomy)]
    ]
    return tuple(sorted(rows, key=lambda row: -row.weights))
