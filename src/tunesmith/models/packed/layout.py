"""Token trees: many rows concatenated into one, with each shared prefix stored once.

Rows with a common prefix (a system prompt, a conversation's history, a prompt with several answers) share it as one segment;
the rest of each row is a child of that segment. There is no padding. The tokens of a segment attend to its ancestors and,
causally, to the segment itself; positions continue from the parent's end, so each row gets the same result as if it were alone.

Shapes: T tokens of the tree, N predictions, S segments. The rows P a b, P c d and P c e would become S = 5 segments with T = 6
tokens (in practice, prefixes of fewer than `_WORTH_SHARING` tokens are not shared):

    ids_T        P  a b  c  d  e        segments  P  ab  c  d  e
    positions_T  0  1 2  1  2  2        parent    −1  0  0  2  2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tunesmith.models.chat import Encoded
from tunesmith.models.packed.attention_plan import AttentionPlan, plan_attention

__all__ = ["Segment", "Tree", "lay_out", "segments_of", "tokens_of"]

_WORTH_SHARING = 8  # tokens: a shorter beginning costs more in bookkeeping than it saves in work


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens `begin` to `end` of the tree, child of segment `parent` (−1 for a root); its first token is at `position`."""

    begin: int
    end: int
    parent: int
    position: int


@dataclass(frozen=True, slots=True)
class Tree:
    """A batch as one row.

    ids_T int64 and positions_T int64 are the inputs of the model. Prediction n: the token at `at_N` is followed by `target_N`,
    in row `row_N` of the batch; there are N target tokens, rows in order. `paths` names the segments of each row, `any_row_T`
    one of the `rows` that each token belongs to. `num_tokens` counts the tokens of the original rows; the last of T may be
    padding that belongs to no row.
    """

    ids_T: torch.Tensor
    positions_T: torch.Tensor
    at_N: torch.Tensor
    target_N: torch.Tensor
    row_N: torch.Tensor
    any_row_T: torch.Tensor
    segments: tuple[Segment, ...]
    attention: AttentionPlan
    rows: tuple[Encoded, ...]
    paths: tuple[tuple[int, ...], ...]
    num_tokens: int

    @property
    def num_learned(self) -> int:
        """Predictions of all rows, shared ones counted once a row."""
        return int(self.target_N.numel())

    @property
    def lengths_BT(self) -> torch.Tensor:  # noqa: N802 (the shape is part of the name)
        """Of each token (B = 1) the length of its row, of the longest one where rows share it; 1 for padding."""
        lengths_T = np.ones(len(self.ids_T))
        for row, path in sorted(zip(self.rows, self.paths, strict=True), key=lambda pair: len(pair[0].ids)):
            lengths_T[tokens_of(self.segments, path)] = len(row.ids)
        return torch.from_numpy(lengths_T).to(self.ids_T.device, torch.float32)[None]


def segments_of(rows: Sequence[Sequence[int]], *, share: bool = True) -> tuple[list[Segment], list[list[int]]]:
    """Segments in tree order (parents before children), and for each row the numbers of the segments it is made of.

    `share=False` makes a root of every row. Rows that are equal, or one the beginning of another, share what they can.
    """
    segments: list[Segment] = []
    paths: list[list[int]] = [[] for _ in rows]

    def add(begin_in_row: int, end_in_row: int, parent: int) -> int:
        start = segments[-1].end if segments else 0
        segments.append(Segment(start, start + end_in_row - begin_in_row, parent, begin_in_row))
        return len(segments) - 1

    def grow(members: list[int], done: int, parent: int) -> None:
        """Lay the rows of `members`, which agree up to token `done`, under `parent`."""
        for group, common in _groups(rows, members, done) if share else [([i], len(rows[i])) for i in members]:
            if common > done:
                node = add(done, common, parent)
                for i in group:
                    paths[i].append(node)
            else:
                node = parent
            if rest := [i for i in group if len(rows[i]) > common]:
                grow(rest, common, node)

    grow(list(range(len(rows))), 0, -1)
    return segments, paths


def _groups(rows: Sequence[Sequence[int]], members: Sequence[int], done: int) -> list[tuple[list[int], int]]:
    """`members` in groups that share at least a worthwhile beginning after `done`: (group, tokens shared by all of it).

    Sorted rows with like beginnings are neighbours, so one pass over neighbours finds the groups (as a suffix array's
    common-prefix table does). A row on its own shares itself with itself: its whole length.
    """
    order = sorted(members, key=lambda i: tuple(rows[i][done:]))
    groups: list[tuple[list[int], int]] = []
    for i in order:
        if groups:
            group, common = groups[-1]
            agreed = _agreement(rows[group[-1]], rows[i], done, common)
            if agreed - done >= _WORTH_SHARING:
                groups[-1] = ([*group, i], min(common, agreed))
                continue
        groups.append(([i], len(rows[i])))
    return [(sorted(group), common) for group, common in groups]


def _agreement(a: Sequence[int], b: Sequence[int], begin: int, most: int) -> int:
    """How many tokens two rows agree on, counted from the start, given that they agree before `begin`."""
    end = min(len(a), len(b), most)
    for place in range(begin, end):
        if a[place] != b[place]:
            return place
    return end


def tokens_of(segments: Sequence[Segment], path: Sequence[int]) -> np.ndarray:
    """Positions of a row's tokens in the tree, in their order."""
    return np.concatenate([np.arange(segments[s].begin, segments[s].end) for s in path])


def lay_out(rows: Sequence[Encoded], *, share: bool = True, device: torch.device | str = "cpu", whole: int = 1) -> Tree:
    """The tree of a batch. With `share=False` nothing is shared, and still nothing is padded.

    Lengths are padded to a multiple of `whole`; the padding neither attends nor is attended to.
    """
    segments, paths = segments_of([row.ids for row in rows], share=share)
    size = -(-segments[-1].end // whole) * whole
    ids, positions, owner = (np.zeros(size, np.int64) for _ in range(3))
    at: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    for number, (row, path) in enumerate(zip(rows, paths, strict=True)):
        place = tokens_of(segments, path)
        code = np.asarray(row.ids, np.int64)
        ids[place], positions[place], owner[place] = code, np.arange(len(code)), number
        learned = np.flatnonzero(np.asarray(row.learned, bool))
        learned = learned[learned > 0]  # no token comes before the first one to predict it from
        at.append(place[learned - 1])
        targets.append(code[learned])
    counts = [len(t) for t in targets]
    numbers = np.repeat(np.arange(len(rows)), counts)
    return Tree(
        torch.from_numpy(ids).to(device),
        torch.from_numpy(positions).to(device),
        torch.from_numpy(np.concatenate(at)).to(device),
        torch.from_numpy(np.concatenate(targets)).to(device),
        torch.from_numpy(numbers).to(device),
        torch.from_numpy(owner).to(device),
        tuple(segments),
        plan_attention([(s.begin, s.end, s.parent) for s in segments], device=device, whole=whole),
        tuple(rows),
        tuple(tuple(path) for path in paths),
        sum(len(row.ids) for row in rows),
    )
