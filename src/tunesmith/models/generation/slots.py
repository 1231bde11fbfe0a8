"""The memory of a generation: keys and values of every slot, and of the prefix that all prompts share.

Shapes: S slots, K key heads, C columns, D width of a head, P tokens of the prefix.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tunesmith.models.generation.table import CachePlan

__all__ = ["LayerCache", "Slots"]


@dataclass(slots=True)
class LayerCache:
    """One layer's keys and values, (S, K, C, D) each, and those of the shared prefix, (2, K, P, D): base, then adapted."""

    keys: torch.Tensor
    values: torch.Tensor
    prefix_keys: torch.Tensor
    prefix_values: torch.Tensor


class Slots:
    """The caches of all layers, made when a layer is first met. Zeros, not garbage: what is masked must still be finite."""

    def __init__(self, plan: CachePlan) -> None:
        self.plan = plan
        self.layers: dict[int, LayerCache] = {}

    def layer(self, index: int, key: torch.Tensor, value: torch.Tensor) -> LayerCache:
        """The cache of a layer whose keys and values look like `key` and `value` (1, K, T, D)."""
        if index not in self.layers:
            plan = self.plan
            sizes = ((plan.slots, plan.columns), (2, plan.prefix))
            made = [x.new_zeros(n, x.shape[1], long, x.shape[-1]) for n, long in sizes for x in (key, value)]
            self.layers[index] = LayerCache(*made)
        return self.layers[index]

    def move(self, to: int, origin: int, begin: int, end: int) -> None:
        """Copy columns `begin` to `end` of one slot to another."""
        for layer in self.layers.values():
            for memory in (layer.keys, layer.values):
                memory[to, :, begin:end] = memory[origin, :, begin:end]

    def shift(self, first: int, count: int, begin: int, end: int, by: int) -> None:
        """Move columns `begin` to `end` of `count` slots from `first` on to the left by `by`."""
        for layer in self.layers.values():
            for memory in (layer.keys, layer.values):
                rows = memory[first : first + count]
                rows[:, :, begin - by : end - by] = rows[:, :, begin:end].clone()

    def keep_prefix(self, side: int, slot: int, end: int) -> None:
        """Take the P columns before `end` of a slot as the prefix of the base (0) or the adapted model (1)."""
        begin = end - self.plan.prefix
        for layer in self.layers.values():
            layer.prefix_keys[side] = layer.keys[slot, :, begin:end]
            layer.prefix_values[side] = layer.values[slot, :, begin:end]
