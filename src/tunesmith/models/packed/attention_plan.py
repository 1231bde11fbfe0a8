"""Which tokens of a tree are computed together: segments with the same parent and similar length, as one batched product.

Shapes: T tokens, n segments of a bucket, R length of the longest, A tokens of their ancestors, L = A + R keys, H query heads,
K key heads, G = H / K. Rows of a tensor of shape (T, H, D) are numbered t · H + h.

Example: a system prompt of 40 tokens with two branches of 30 and 28. The prompt is a bucket with n = 1, R = 40, A = 0; the
branches are one with n = 2, R = 30, A = 40, L = 70. Padded rows would need 2 · 70² scores, the buckets 40² + 2 · 30 · 70.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

__all__ = ["AttentionPlan", "Bucket", "BucketRows", "Rows", "plan_attention"]

_LIKE = 0.6  # segments at least this share of the longest go into one bucket
_LONG = 512  # tokens of a segment from which the kept probabilities would outweigh everything else


@dataclass(frozen=True, slots=True)
class Bucket:
    """Segments (begin, end) with the same ancestors, given as ranges of the tree from the root down.

    They are padded to a multiple of `whole` tokens.
    """

    segments: tuple[tuple[int, int], ...]
    ancestors: tuple[tuple[int, int], ...]
    whole: int = 1

    @property
    def longest(self) -> int:
        """R, a multiple of `whole`."""
        return -(-max(end - begin for begin, end in self.segments) // self.whole) * self.whole

    @property
    def above(self) -> int:
        """A"""
        return sum(end - begin for begin, end in self.ancestors)


@dataclass(frozen=True, slots=True)
class BucketRows:
    """Row numbers for one bucket: queries in order (n, K, G, R), keys in order (n, K, L), and queries that are padding."""

    queries: torch.Tensor
    keys: torch.Tensor
    filling: torch.Tensor


@dataclass(frozen=True, slots=True)
class Rows:
    """Row numbers for a shape of heads: into each bucket, and from the concatenated rows of all buckets back to the tree."""

    buckets: tuple[BucketRows, ...]
    back_queries: torch.Tensor
    back_keys: torch.Tensor


class AttentionPlan:
    """The buckets of a tree, and the row numbers that gather them, computed once per shape of heads and used by every layer.

    `size` is the number of tokens of the tree; further tokens are padding, and the output of attention for them is zero.
    """

    def __init__(
        self, buckets: Sequence[Bucket], segments: Sequence[tuple[int, int, int]], *, device: torch.device | str
    ) -> None:
        self.buckets = tuple(buckets)
        self.size = segments[-1][1]
        self.device = device
        self._segments = tuple(segments)
        self.rows = lru_cache(maxsize=4)(self._rows)
        self.mask = lru_cache(maxsize=None)(self._mask)
        self.block_mask = lru_cache(maxsize=None)(self._block_mask)

    @property
    def longest_path(self) -> int:
        """Tokens from a root to the end of the deepest segment."""
        return max(b.above + b.longest for b in self.buckets)

    @property
    def is_long(self) -> bool:
        """Whether a segment is so long that its attention is better left to the library's kernel."""
        return any(b.longest > _LONG for b in self.buckets)

    def _mask(self, bucket: int, groups: int, dtype: torch.dtype, window: int = 0) -> torch.Tensor:
        """(groups · R, L): 0 where a query may attend, else −inf. It attends to its ancestors and, causally, its own segment.

        Padding keys of a shorter segment come after all of its real queries, so causality hides them. With a `window`,
        a query attends to itself and the window − 1 tokens before it.
        """
        b = self.buckets[bucket]
        query, key = np.arange(b.longest)[:, None] + b.above, np.arange(b.above + b.longest)[None, :]
        hidden = (key > query) | ((query - key >= window) if window else False)
        mask_RL = torch.from_numpy(np.where(hidden, -np.inf, 0.0)).to(self.device, dtype)
        return mask_RL.repeat(groups, 1)

    def _block_mask(self, size: int, window: int) -> Any:
        """The block mask of flex_attention for `size` tokens; each padding token attends only to itself."""
        from torch.nn.attention.flex_attention import create_block_mask

        reach, place = np.arange(size) + 1, np.arange(size)
        ends = [end for _, end, _ in self._segments]
        for number in range(len(self._segments) - 1, -1, -1):  # children before parents: what hangs below is known
            begin, end, parent = self._segments[number]
            reach[begin:end] = ends[number]
            if parent >= 0:
                ends[parent] = max(ends[parent], ends[number])
        for begin, end, parent in self._segments:
            before = 0 if parent < 0 else place[self._segments[parent][1] - 1] + 1
            place[begin:end] = before + np.arange(end - begin)
        reach_T, place_T = self._index(reach), self._index(place)

        def may_look(_b: Any, _h: Any, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            seen = (k <= q) & (q < reach_T[k])
            return seen & (place_T[q] - place_T[k] < window) if window else seen

        return create_block_mask(may_look, None, None, size, size, device=str(self.device))

    def _rows(self, heads: int, key_heads: int) -> Rows:
        found = []
        back_queries = np.zeros((self.size, heads), np.int64)
        back_keys = np.zeros((self.size, key_heads), np.int64)
        queries_before = keys_before = 0
        for bucket in self.buckets:
            n, R, A = len(bucket.segments), bucket.longest, bucket.above
            above = np.concatenate([np.arange(*span) for span in bucket.ancestors] or [np.zeros(0, np.int64)])
            tokens_nR = np.stack([begin + np.minimum(np.arange(R), end - begin - 1) for begin, end in bucket.segments])
            real_nR = np.stack([np.arange(R) < end - begin for begin, end in bucket.segments])
            keys_nL = np.concatenate([np.broadcast_to(above, (n, A)), tokens_nR], axis=1)
            head_KG = np.arange(heads).reshape(key_heads, -1)
            queries = tokens_nR[:, None, None, :] * heads + head_KG[None, :, :, None]
            keys = keys_nL[:, None, :] * key_heads + np.arange(key_heads)[None, :, None]
            real = np.broadcast_to(real_nR[:, None, None, :], queries.shape).reshape(-1)
            numbers = queries_before + np.arange(queries.size)
            back_queries.reshape(-1)[queries.reshape(-1)[real]] = numbers[real]
            own = keys[:, :, A:].reshape(-1)
            own_numbers = (keys_before + np.arange(keys.size).reshape(keys.shape))[:, :, A:].reshape(-1)
            real_keys = np.broadcast_to(real_nR[:, None, :], (n, key_heads, R)).reshape(-1)
            back_keys.reshape(-1)[own[real_keys]] = own_numbers[real_keys]
            queries_before, keys_before = queries_before + queries.size, keys_before + keys.size
            found.append(BucketRows(*(self._index(a) for a in (queries, keys, np.flatnonzero(~real)))))
        return Rows(tuple(found), self._index(back_queries), self._index(back_keys))

    def _index(self, numbers: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(numbers.reshape(-1))).to(self.device)


def plan_attention(segments: Sequence[tuple[int, int, int]], *, device: torch.device | str, whole: int = 1) -> AttentionPlan:
    """Buckets for segments (begin, end, parent) in depth-first order, as `layout` makes them, in steps of `whole` tokens."""
    chains: list[tuple[tuple[int, int], ...]] = []
    under: dict[tuple[tuple[int, int], ...], list[tuple[int, int]]] = {}
    for begin, end, parent in segments:
        chain = (*chains[parent], segments[parent][:2]) if parent >= 0 else ()
        chains.append(chain)
        under.setdefault(chain, []).append((begin, end))
    buckets = []
    for chain, members in under.items():
        group: list[tuple[int, int]] = []
        for span in sorted(members, key=lambda s: s[0] - s[1]):
            if group and span[1] - span[0] < _LIKE * (group[0][1] - group[0][0]):
                buckets.append(Bucket(tuple(group), chain, whole))
                group = []
            group.append(span)
        buckets.append(Bucket(tuple(group), chain, whole))
    return AttentionPlan(buckets, segments, device=device)
