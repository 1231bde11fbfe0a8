"""Batches in an order that is a pure function of (seed, epoch, index): resuming needs no state of a data loader.

Units are shuffled, then sorted within windows of a few batches so that those that begin alike and are of like length
come together (trees share more, rows pad less), and the batches of an epoch are shuffled again. Units of different kinds,
such as the author's rows and the base's own answers, are spread evenly: sorting alone would make batches of one kind. A
batch that is too large for one forward pass is learned in parts, weighted as its units are. Whatever is done, a unit stays
whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from tunesmith.models.chat import Encoded
from tunesmith.train.processes import ALONE, Processes, part_of
from tunesmith.train.units import Batch, Unit

__all__ = ["Batches", "Sizes", "epoch_order", "even_parts", "parts_of", "shared_tokens", "tokens_at_once"]

_WINDOW = 8  # batches that are sorted together
_BEGINNING = 32  # tokens: a system prompt or a history; grouping by the template of a question would make batches of one kind
_RECOMPUTED = 16  # a batch is cut where that adds at most one token in so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much goes into a batch: `examples` units, or about `tokens` tokens where that is not 0."""

    examples: int
    tokens: int = 0

    def num_batches(self, lengths: Sequence[int]) -> int:
        """Batches in an epoch over units of these lengths: the same for every epoch."""
        return -(-sum(lengths) // self.tokens) if self.tokens else -(-len(lengths) // self.examples)


def epoch_order(
    lengths: Sequence[int],
    *,
    sizes: Sizes,
    seed: int,
    epoch: int,
    alike: Sequence[int] | None = None,
    kinds: Sequence[str] | None = None,
    short_first: bool = False,
) -> list[list[int]]:
    """Indices of each batch of an epoch; every unit is in exactly one. `alike` numbers units by their beginning. Of each of
    the `kinds` a batch by examples has its share of the epoch, give or take two units.

    `short_first` sorts the first epoch by length, before it is cut into batches; later epochs are shuffled as ever.
    """
    rng = np.random.default_rng([seed, epoch])
    shuffled = rng.permutation(len(lengths)).tolist()
    count = sizes.num_batches(lengths)
    if short_first and epoch == 0:
        rising = sorted(shuffled, key=lambda i: lengths[i])
        if sizes.tokens:
            return _even(rising, lengths, count)
        return [rising[i : i + sizes.examples] for i in range(0, len(rising), sizes.examples)]
    span = sizes.examples * _WINDOW if not sizes.tokens else max(1, -(-len(lengths) * _WINDOW // count))

    def sorted_in_windows(rows: Sequence[int]) -> list[int]:
        windows = (rows[begin : begin + span] for begin in range(0, len(rows), span))
        return [i for window in windows for i in sorted(window, key=lambda i: (alike[i] if alike else 0, lengths[i]))]

    by_kind: dict[str, list[int]] = {}
    for i in shuffled:
        by_kind.setdefault(kinds[i] if kinds else "", []).append(i)
    ordered = _spread([sorted_in_windows(rows) for rows in by_kind.values()])
    if sizes.tokens:
        batches = _even(ordered, lengths, count)
    else:
        batches = [ordered[i : i + sizes.examples] for i in range(0, len(ordered), sizes.examples)]
    return [batches[i] for i in rng.permutation(len(batches)).tolist()]


def _spread(lists: Sequence[Sequence[int]]) -> list[int]:
    """All rows, each list in its order and evenly over the whole."""
    placed = [((place + 0.5) / len(rows), row) for rows in lists for place, row in enumerate(rows)]
    return [row for _, row in sorted(placed, key=lambda one: one[0])]


def _even(rows: Sequence[int], lengths: Sequence[int], count: int) -> list[list[int]]:
    """The rows, in order, cut into `count` batches of about the same number of tokens, none of them empty."""
    count = min(count, len(rows))
    total, done = sum(lengths), 0
    batches: list[list[int]] = [[]]
    for place, row in enumerate(rows):
        left = count - len(batches)
        if batches[-1] and left and (done >= total * len(batches) / count or len(rows) - place <= left):
            batches.append([])
        batches[-1].append(row)
        done += lengths[row]
    return batches


def parts_of(rows: Sequence[int], lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Rows in order, cut wherever a part would exceed `most_tokens`; a longer row is a part of its own."""
    parts: list[list[int]] = []
    filled = 0
    for row in rows:
        if not parts or filled + lengths[row] > most_tokens:
            parts.append([])
            filled = 0
        parts[-1].append(row)
        filled += lengths[row]
    return parts


def even_parts(rows: Sequence[int], new: Sequence[int], again: Sequence[int], enough: int) -> list[list[int]]:
    """Rows in order in even parts of `enough` tokens or a little more, if they have more than that.

    `new[i]`: tokens that the i-th row adds to those before it; `again[i]`: those that it shares with the row before it, which
    a part that begins with it computes once more. No cut adds more than one token in `_RECOMPUTED`.
    """
    total = sum(new)
    aim = total / max(1, -(-total // enough))
    parts: list[list[int]] = []
    filled = 0
    for row, own, common in zip(rows, new, again, strict=True):
        if not parts or (filled + own / 2 > aim and _RECOMPUTED * common <= filled):
            filled = common if parts else 0
            parts.append([])
        parts[-1].append(row)
        filled += own
    return parts


def shared_tokens(before: Encoded, row: Encoded) -> int:
    """Tokens with which both begin."""
    pairs = enumerate(zip(before.ids, row.ids, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(before.ids), len(row.ids)))


def tokens_at_once(unit: Unit, *, shares: bool) -> int:
    """Tokens that a unit takes in a forward pass of its own; with `shares`, what a row has in common with the one before it is
    computed once.
    """
    common = sum(shared_tokens(a, b) for a, b in pairwise(unit.rows)) if shares else 0
    return unit.num_tokens - common


class Batches:
    """The training split as an endless, random-access row of batches, each in one part or, where memory asks for it, more.

    `lay_out` makes a batch of units; `most_tokens` is the most that goes through the model at once, in even parts of about
    `enough` tokens (0: whole). `shares`: what rows have in common is computed once. `processes`: learn a batch together.
    """

    def __init__(  # noqa: PLR0913 (what is in a batch, and how it is cut)
        self,
        units: Sequence[Unit],
        *,
        sizes: Sizes,
        seed: int,
        most_tokens: int,
        lay_out: Callable[[Sequence[Unit]], Batch],
        short_first: bool = False,
        enough: int = 0,
        shares: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self.most_tokens = most_tokens
        self._enough, self._shares = enough, shares
        self._units = units
        self._lengths = [unit.num_tokens for unit in units]
        self._at_once = [tokens_at_once(unit, shares=shares) for unit in units]
        self._sizes = sizes
        self._seed = seed
        self._lay_out = lay_out
        self._processes = processes
        self._short_first = short_first
        beginnings = [unit.rows[0].ids[:_BEGINNING] for unit in units]
        common = [beginning for beginning, count in Counter(beginnings).most_common() if count > 1]
        numbers = {beginning: number for number, beginning in enumerate(common, 1)}
        self._alike = [numbers.get(beginning, 0) for beginning in beginnings]
        self._kinds = [unit.kind for unit in units]
        self._order = lru_cache(maxsize=2)(self._epoch)

    def __len__(self) -> int:
        """Batches in one epoch."""
        return min(len(self._units), self._sizes.num_batches(self._lengths))

    def _epoch(self, epoch: int) -> list[list[int]]:
        return epoch_order(
            self._lengths,
            sizes=self._sizes,
            seed=self._seed,
            epoch=epoch,
            alike=self._alike,
            kinds=self._kinds,
            short_first=self._short_first,
        )

    def at(self, index: int) -> list[Batch]:
        """The parts of the batch at `index`, counted from the start of the run over all epochs: those that this process learns.

        All processes get as many parts; one that has fewer to learn gets idle ones, its own again or the shortest unit.
        """
        epoch, place = divmod(index, len(self))
        batch, rank, count = self._order(epoch)[place], self._processes.rank, self._processes.count
        if count == 1:
            return self._laid_out(self._parts(batch))
        parts = [self._parts(part_of(batch, self._at_once, rank=one, count=count)) for one in range(count)]
        mine = self._laid_out(parts[rank])
        again = mine[-1:] or self._laid_out([[min(batch, key=self._at_once.__getitem__)]])
        return mine + [replace(again[0], idle=True)] * (max(map(len, parts)) - len(mine))

    def _laid_out(self, parts: Sequence[Sequence[int]]) -> list[Batch]:
        return [self._lay_out([self._units[i] for i in part]) for part in parts]

    def _parts(self, batch: Sequence[int]) -> list[list[int]]:
        parts = parts_of(batch, self._at_once, self.most_tokens)
        if not self._enough:
            return parts
        cut = []
        for part in parts:
            again = [0, *(self._common(a, b) for a, b in pairwise(part))]
            new = [self._at_once[unit] - common for unit, common in zip(part, again, strict=True)]
            cut += even_parts(part, new, again, self._enough)
        return cut

    def _common(self, before: int, unit: int) -> int:
        return shared_tokens(self._units[before].rows[-1], self._units[unit].rows[0]) if self._shares else 0

    def shrink(self) -> bool:
        """Halve what goes through at once, if a batch can still be cut; whether it could."""
        longest = max(self._at_once)
        parts = (part for batch in self._order(0) for part in self._parts(batch))
        most = min(self.most_tokens, max(sum(self._at_once[i] for i in part) for part in parts))
        if most <= longest:
            return False
        self.most_tokens = max(longest, most // 2)
        return True
