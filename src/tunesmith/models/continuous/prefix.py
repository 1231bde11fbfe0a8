"""Prompts that were read before: keys and values of their beginnings in blocks, found by what the tokens are.

A block is named by the hash of all tokens up to its end and of the adapter, so equal beginnings of different conversations
share their blocks (the scheme of vLLM's automatic prefix caching). The least recently used ones go first.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch

__all__ = ["BLOCK", "PrefixCache", "block_names"]

BLOCK = 32
"""Tokens per block."""

_Block = tuple[torch.Tensor, torch.Tensor]


def block_names(ids: Sequence[int], salt: str) -> list[bytes]:
    """The names of the whole blocks of a row of tokens. `salt`: what else keys and values depend on (the adapter)."""
    chain = hashlib.blake2b(salt.encode(), digest_size=16)
    names = []
    for begin in range(0, len(ids) - BLOCK + 1, BLOCK):
        chain.update(array("q", ids[begin : begin + BLOCK]).tobytes())
        names.append(chain.copy().digest())
    return names


class PrefixCache:
    """At most `budget_bytes` of blocks. `queries` and `hits` count tokens of prompts, and those that were found."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._blocks: OrderedDict[bytes, _Block] = OrderedDict()
        self.size_bytes = 0
        self.queries = self.hits = 0

    def count(self, names: Sequence[bytes]) -> int:
        """How many blocks from the first on are here."""
        return next((at for at, name in enumerate(names) if name not in self._blocks), len(names))

    def take(self, names: Sequence[bytes]) -> list[_Block]:
        """The blocks from the first on that are here."""
        here = names[: self.count(names)]
        self._touch(here)
        return [self._blocks[name] for name in here]

    def add(self, names: Sequence[bytes], read: Callable[[int], _Block]) -> None:
        """Keep the blocks of a row; `read` gives the block of a number, and is asked only for those that are not here."""
        for number, name in enumerate(names):
            if name not in self._blocks:
                block = self._blocks[name] = read(number)
                self.size_bytes += sum(x.numel() * x.element_size() for x in block)
        self._touch(names)
        while self.size_bytes > self._budget:
            _, (keys, values) = self._blocks.popitem(last=False)
            self.size_bytes -= keys.numel() * keys.element_size() + values.numel() * values.element_size()

    def _touch(self, names: Sequence[bytes]) -> None:
        for name in reversed(names):  # without its beginning, the rest of a row is of no use: so that goes last
            self._blocks.move_to_end(name)

    def forget(self) -> None:
        """Let go of everything."""
        self._blocks.clear()
        self.size_bytes = 0
