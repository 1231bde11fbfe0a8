"""Keys and values of all answers in work: one slot per answer, its tokens from column 0 on, growing by doubling.

Shapes: L layers, S slots, K key heads, C columns, D width of a head.
"""

from __future__ import annotations

import torch

__all__ = ["KeyValues"]

_FIRST_COLUMNS = 256


class KeyValues:
    """Keys (L, S·K, C, D) and values alike, made when the first layer is met. Zeros, not garbage: masked ones must be finite.

    A slot's columns are those of its tokens; rows in use are slots 0 to `used` without a gap, so that they are one piece.
    """

    def __init__(self, num_layers: int) -> None:
        self._num_layers = num_layers
        self.slots, self.columns = 1, _FIRST_COLUMNS
        self.heads = 0
        self.keys: torch.Tensor | None = None
        self.values: torch.Tensor | None = None

    def layer(self, index: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(S·K, C, D) keys and values of a layer whose new ones look like `key` and `value` (1, K, T, D)."""
        if self.keys is None or self.values is None:
            self.heads = key.shape[1]
            shape = (self._num_layers, self.slots * self.heads, self.columns)
            self.keys, self.values = key.new_zeros(*shape, key.shape[-1]), value.new_zeros(*shape, value.shape[-1])
        return self.keys[index], self.values[index]

    @property
    def size_bytes(self) -> int:
        """Of both tensors now; 0 before the first pass."""
        return sum(x.numel() * x.element_size() for x in (self.keys, self.values) if x is not None)

    def reserve(self, slots: int, columns: int) -> None:
        """Room for so many slots and columns; what is there stays."""
        more_slots, more_columns = _doubled(self.slots, slots), _doubled(self.columns, columns)
        if (more_slots, more_columns) == (self.slots, self.columns):
            return
        if self.keys is not None and self.values is not None:
            grown = []
            for old in (self.keys, self.values):
                new = old.new_zeros(old.shape[0], more_slots * self.heads, more_columns, old.shape[-1])
                new[:, : old.shape[1], : old.shape[2]] = old
                grown.append(new)
            self.keys, self.values = grown
        self.slots, self.columns = more_slots, more_columns

    def release(self, slots: int, columns: int) -> None:
        """Shrink to the room that this takes, once four times as much is held."""
        small = (_doubled(1, slots), _doubled(_FIRST_COLUMNS, columns))
        if self.keys is None or self.values is None or small[0] * small[1] * 4 > self.slots * self.columns:
            return
        part = (slice(None), slice(0, small[0] * self.heads), slice(0, small[1]))
        self.keys, self.values = self.keys[part].clone(), self.values[part].clone()
        self.slots, self.columns = small

    def move(self, to: int, origin: int, length: int) -> None:
        """Copy the first `length` columns of one slot to another."""
        for x in (self.keys, self.values):
            if x is not None:
                there, here = self._rows(to), self._rows(origin)
                x[:, there, :length] = x[:, here, :length]

    def read(self, slot: int, begin: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Copies (L, K, end − begin, D) of keys and values of some columns of a slot."""
        assert self.keys is not None and self.values is not None
        rows = self._rows(slot)
        return self.keys[:, rows, begin:end].clone(), self.values[:, rows, begin:end].clone()

    def write(self, slot: int, begin: int, block: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Put copies that `read` made into columns of a slot."""
        assert self.keys is not None and self.values is not None
        rows, size = self._rows(slot), block[0].shape[2]
        self.keys[:, rows, begin : begin + size] = block[0]
        self.values[:, rows, begin : begin + size] = block[1]

    def _rows(self, slot: int) -> slice:
        return slice(slot * self.heads, (slot + 1) * self.heads)


def _doubled(size: int, wanted: int) -> int:
    while size < wanted:
        size *= 2
    return size
