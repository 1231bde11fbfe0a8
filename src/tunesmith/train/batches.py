"""Batches in an order that is a pure function of (seed, epoch, index): resuming needs no state of a data loader.

Examples are shuffled, sorted by length within windows of a few batches so that little is padded, and the batches of an
epoch are shuffled again. Shapes: B rows, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from tunesmith.models.chat import Encoded

__all__ = ["Batch", "Batches", "collate", "epoch_order"]

_WINDOW = 8  # batches that are sorted by length together


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded rows. ids_BT int64, mask_BT 1 where a token is real, learned_BT true where it is a label."""

    ids_BT: torch.Tensor
    mask_BT: torch.Tensor
    learned_BT: torch.Tensor
    num_learned: int
    num_tokens: int


def epoch_order(lengths: Sequence[int], *, batch_examples: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of each batch of an epoch; every example stands in exactly one."""
    rng = np.random.default_rng([seed, epoch])
    shuffled = rng.permutation(len(lengths))
    span = batch_examples * _WINDOW
    batches = []
    for begin in range(0, len(shuffled), span):
        window = sorted(shuffled[begin : begin + span].tolist(), key=lambda i: lengths[i])
        batches += [window[i : i + batch_examples] for i in range(0, len(window), batch_examples)]
    return [batches[i] for i in rng.permutation(len(batches)).tolist()]


def collate(rows: Sequence[Encoded], *, pad_id: int, device: torch.device | str) -> Batch:
    """Pad rows on the right to the longest."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    learned = torch.zeros((len(rows), longest), dtype=torch.bool)
    for i, row in enumerate(rows):
        n = len(row.ids)
        ids[i, :n] = torch.tensor(row.ids)
        mask[i, :n] = 1
        learned[i, :n] = torch.tensor(row.learned)
    learned[:, 0] = False  # nothing stands before the first token to predict it from
    return Batch(ids.to(device), mask.to(device), learned.to(device), int(learned.sum()), int(mask.sum()))


class Batches:
    """The training split as an endless, random-access row of batches."""

    def __init__(
        self, rows: Sequence[Encoded], *, batch_examples: int, seed: int, pad_id: int, device: torch.device | str
    ) -> None:
        self._rows = rows
        self._size = batch_examples
        self._seed = seed
        self._pad_id = pad_id
        self._device = device
        self._order = lru_cache(maxsize=2)(self._epoch)

    def __len__(self) -> int:
        """Batches in one epoch."""
        return -(-len(self._rows) // self._size)

    def _epoch(self, epoch: int) -> list[list[int]]:
        return epoch_order([len(r.ids) for r in self._rows], batch_examples=self._size, seed=self._seed, epoch=epoch)

    def at(self, index: int) -> Batch:
        """The batch at `index`, counted from the start of the run over all epochs."""
        epoch, place = divmod(index, len(self))
        return collate([self._rows[i] for i in self._order(epoch)[place]], pad_id=self._pad_id, device=self._device)
