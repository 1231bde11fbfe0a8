"""MinHash signatures cut into bands: texts that share a band may be near copies (Broder 1997; Leskovec et al., ch. 3).

240 values, 40 bands of 6. Two texts of Jaccard index J share a band with probability 1 - (1 - J^6)^40: 0.999995 at 0.8, 0.47 at
0.5, 0.03 at 0.3. What shares a band is then compared exactly, so a band too many costs time alone.

The values come from one hash of each shingle: it falls into one of 240 bins, and a bin keeps its least (Li, Owen, Zhang 2012).
An empty bin takes the value of another, in an order of its own that is the same for every text (after Shrivastava 2017).

Shapes: D texts, S shingles, B bands, V values.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.similar.shingles import Shingled, mixed

__all__ = ["MOST_IN_A_BAND", "NUM_VALUES", "band_keys", "candidate_pairs", "rows_for", "signatures"]

NUM_VALUES = 240
MOST_IN_A_BAND = 2000  # texts sharing one band that are all compared with each other; beyond, each with its next neighbours
_NEIGHBOURS = 200
_RECALL = 0.999
_BIN_BITS, _VALUE_BITS = 8, 38  # with 18 bits for the text they fill a 64-bit number, which sorts fast
_TEXTS_AT_ONCE = 1 << (64 - _BIN_BITS - _VALUE_BITS)
_PAIRS_AT_ONCE = 1 << 22


def rows_for(threshold: float) -> int:
    """Rows of a band with which a pair at `threshold` is found with probability 0.999 or more: six at 0.8, fewer below 0.77."""
    return next((r for r in (6, 5, 4, 3, 2) if (1 - threshold**r) ** (NUM_VALUES // r) <= 1 - _RECALL), 1)


def band_keys(shingled: Shingled, *, rows: int) -> NDArray[np.uint32]:
    """A 32-bit key for each band of `rows` values of each text (D × B); texts with equal keys in a band are candidates.

    32 bits are enough: a chance collision costs one comparison. All texts without shingles get the same keys.
    """
    values = signatures(shingled).reshape(-1, NUM_VALUES // rows, rows)
    keys = np.zeros(values.shape[:2], np.uint64)
    for row in range(rows):
        keys *= np.uint64(0x9E3779B97F4A7C15)
        keys += values[:, :, row]
    return (mixed(keys) >> np.uint64(32)).astype(np.uint32)


def signatures(shingled: Shingled) -> NDArray[np.uint32]:
    """The MinHash values of each text (D × V). The share of equal values of two texts estimates their Jaccard index."""
    counts = np.diff(shingled.starts)
    parts = [
        _signatures_at_once(shingled.hashes_S[shingled.starts[at] : shingled.starts[at + len(part)]], part)
        for at in range(0, max(len(counts), 1), _TEXTS_AT_ONCE)
        for part in (counts[at : at + _TEXTS_AT_ONCE],)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _signatures_at_once(hashes_S: NDArray[np.uint64], counts: NDArray[np.int64]) -> NDArray[np.uint32]:
    bins = ((hashes_S >> np.uint64(40)) * np.uint64(NUM_VALUES)) >> np.uint64(24)
    bins += np.repeat(np.arange(len(counts), dtype=np.uint64) << np.uint64(_BIN_BITS), counts)
    bins <<= np.uint64(_VALUE_BITS)
    bins |= hashes_S & np.uint64((1 << _VALUE_BITS) - 1)
    bins.sort()
    places = bins >> np.uint64(_VALUE_BITS)
    first = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1]])) if len(places) else np.zeros(0, np.int64)
    places = places[first]
    cells = (places >> np.uint64(_BIN_BITS)) * np.uint64(NUM_VALUES) + (places & np.uint64((1 << _BIN_BITS) - 1))
    values = np.zeros(len(counts) * NUM_VALUES, np.uint32)
    values[cells] = bins[first] & np.uint64(0xFFFFFFFF)
    _fill_empty(values, cells, np.flatnonzero(counts == 0))
    return values.reshape(-1, NUM_VALUES)


def _fill_empty(values: NDArray[np.uint32], cells: NDArray[np.uint64], bare: NDArray[np.int64]) -> None:
    """Give each empty bin the value of the first occupied one in its own fixed order of the bins."""
    occupied = np.zeros(len(values), np.bool_)
    occupied[cells] = True
    wanting = ~occupied.reshape(-1, NUM_VALUES)
    wanting[bare] = False
    empty = np.flatnonzero(wanting)
    bins = empty % NUM_VALUES
    bases = empty - bins
    for turn in range(NUM_VALUES):
        if not len(empty):
            return
        donors = bases + _orders()[turn][bins]
        hit = occupied[donors]
        values[empty[hit]] = values[donors[hit]]
        left = ~hit
        empty, bins, bases = empty[left], bins[left], bases[left]


@functools.cache
def _orders() -> NDArray[np.int64]:
    """For each bin (column) an order of all bins, drawn once and for ever."""
    draws = mixed(np.arange(1, NUM_VALUES * NUM_VALUES + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return np.argsort(draws.reshape(NUM_VALUES, NUM_VALUES), axis=0, kind="stable")


def candidate_pairs(keys_DB: NDArray[np.uint32]) -> tuple[NDArray[np.int64], int]:
    """Every pair of texts that shares a band, each once, sorted, first < second (P × 2); and how many bands were cut short.

    A band that more than `MOST_IN_A_BAND` texts share is cut short: each is paired with the 200 that follow it only.
    """
    count = len(keys_DB)
    found: list[NDArray[np.int64]] = []
    held = cut = 0
    for band in range(keys_DB.shape[1]):
        order = np.argsort(keys_DB[:, band], kind="stable")
        ordered = keys_DB[order, band]
        borders = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]])) if count else np.zeros(1, int)
        sizes = np.diff(borders)
        for size in np.unique(sizes[sizes > 1]).tolist():
            groups = order[borders[:-1][sizes == size][:, None] + np.arange(size)]
            cut += len(groups) if size > MOST_IN_A_BAND else 0
            for codes in _pairs_within(groups, count):
                found.append(codes)
                held += len(codes)
                if held > _PAIRS_AT_ONCE:
                    found = [np.unique(np.concatenate(found))]
                    held = 0  # counts what came since: the distinct ones stay
    codes = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
    return np.stack([codes // max(count, 1), codes % max(count, 1)], axis=1), cut


def _pairs_within(groups: NDArray[np.int64], count: int) -> Iterator[NDArray[np.int64]]:
    """Codes first · count + second of the pairs within each row of `groups`, whose members are in rising order."""
    size = groups.shape[1]
    reach = size - 1 if size <= MOST_IN_A_BAND else _NEIGHBOURS
    for step in range(1, reach + 1):
        yield (groups[:, :-step] * count + groups[:, step:]).ravel()
