"""Token trees: many rows laid end to end in one, each shared beginning once.

Rows that begin alike (a system prompt, a conversation's history, a prompt with several answers) share that beginning as
one segment; what follows hangs under it. Nothing is padded. The tokens of a segment see its ancestors and, causally,
itself; positions go on from the parent's end, so each row reads as if it stood alone.

Shapes: T tokens of the tree, N predictions, S segments.
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
    """Tokens `begin` to `end` of the tree, under segment `parent` (−1 for a root); its first token stands at `position`."""

    begin: int
    end: int
    parent: int
    position: int


@dataclass(frozen=True, slots=True)
class Tree:
    """A batch as one row.

    ids_T int64 and positions_T int64 are what the model reads. Prediction n says that after the token at `at_N` comes
    `target_N`, in row `row_N` of the batch; only learned tokens are predicted, N in all, rows in order. `paths` names the
    segments of each row, `any_row_T` one of the `rows` that each token belongs to. `num_tokens` counts the rows' tokens
    as they came; the last of T may belong to no row and only fill the tree up.
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
    """Where the tokens of a row stand in the tree, in their order."""
    return np.concatenate([np.arange(segments[s].begin, segments[s].end) for s in path])


def lay_out(rows: Sequence[Encoded], *, share: bool = True, device: torch.device | str = "cpu", whole: int = 1) -> Tree:
    """The tree of a batch. With `share=False` nothing is shared, and still nothing is padded.

    Lengths are filled up to a multiple of `whole` with tokens that nothing sees and that see nothing.
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
        learned = learned[learned > 0]  # nothing stands before the first token to predict it from
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
