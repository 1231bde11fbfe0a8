"""Which answer sits in which slot of the cache, and in which columns: plain arithmetic, no tensors.

Slots of the base lie left of a pivot and those of the adapted model right of it, both growing away from it, so that the
rows in use, and within them the adapted ones, are always one piece. All rows end at the same column, the newest token;
a row begins where its own prompt does. Rows that end are replaced by the outermost of their side.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["CachePlan", "Row", "Table", "plan_cache"]

_SPARE = 32  # prompts go in over several steps: those that come later end further right


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlan:
    """The memory of a generation: slots for base and adapted model, columns a slot, tokens with which all prompts begin."""

    base_slots: int
    adapted_slots: int
    columns: int
    prefix: int
    bytes_per_token: int

    @property
    def slots(self) -> int:
        """Answers made at once."""
        return self.base_slots + self.adapted_slots

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole cache, the shared prefix (once for each side) included."""
        sides = bool(self.base_slots) + bool(self.adapted_slots)
        return self.bytes_per_token * (self.slots * self.columns + sides * self.prefix)

    def words(self) -> str:
        """The plan in one line."""
        shared = f", the first {self.prefix} tokens shared" if self.prefix else ""
        return f"{self.slots} answers at once in {self.size_bytes / 2**20:,.0f} MiB of keys and values{shared}"


def plan_cache(
    *, num_base: int, num_adapted: int, most: int, prompt: int, room: int, prefix: int, bytes_per_token: int, budget_bytes: int
) -> CachePlan:
    """Slots and columns for prompts of at most `prompt` tokens beyond the shared prefix and answers of at most `room`.

    At most `most` rows and `budget_bytes`, but at least one slot a side in use. Spare columns, a quarter more where slots
    are used again, let rows drift to the right for a while before all are moved back.
    """
    total = num_base + num_adapted

    def slots_for(columns: int) -> int:
        affordable = budget_bytes // max(1, bytes_per_token) - prefix * (bool(num_base) + bool(num_adapted))
        return max(bool(num_base) + bool(num_adapted), min(most, total, affordable // columns))

    columns = max(prompt, prefix) + room + _SPARE
    slots = slots_for(columns)
    if slots < total:
        columns += columns // 4
        slots = slots_for(columns)
    base = min(num_base, max(bool(num_base), slots - bool(num_adapted), 0), max(1, round(slots * num_base / max(1, total))))
    return CachePlan(
        base_slots=base if num_base else 0,
        adapted_slots=max(bool(num_adapted), slots - base) if num_adapted else 0,
        columns=columns,
        prefix=prefix,
        bytes_per_token=bytes_per_token,
    )


@dataclass(slots=True)
class Row:
    """An answer in work: its job, the tokens made, positions filled (prefix included), and the column where its own begin."""

    job: int
    length: int
    start: int
    tokens: list[int] = field(default_factory=list)


class Table:
    """Rows in slots. `column` is the newest one, −1 before the first step."""

    def __init__(self, plan: CachePlan) -> None:
        self.plan = plan
        self.column = -1
        self._sides: tuple[list[Row], list[Row]] = ([], [])

    def __len__(self) -> int:
        return len(self._sides[0]) + len(self._sides[1])

    def free(self, side: int) -> int:
        """Empty slots of the base (0) or the adapted model (1)."""
        return (self.plan.adapted_slots if side else self.plan.base_slots) - len(self._sides[side])

    def count(self, side: int) -> int:
        """Rows of a side."""
        return len(self._sides[side])

    @property
    def first(self) -> int:
        """The lowest slot in use."""
        return self.plan.base_slots - len(self._sides[0])

    def in_order(self) -> list[Row]:
        """All rows by rising slot."""
        return [*reversed(self._sides[0]), *self._sides[1]]

    def add(self, side: int, row: Row) -> None:
        """Put a row into the next slot outwards."""
        self._sides[side].append(row)

    def next_column(self, own_prompt: int) -> tuple[int, int]:
        """(the column of the coming step, columns by which all rows must first move left).

        `own_prompt`: tokens, beyond the prefix, of the longest prompt still to come; there must be room for it on the left.
        """
        if not len(self):
            return own_prompt - 1, 0
        if self.column + 1 < self.plan.columns:
            return self.column + 1, 0
        longest = max(self.column + 1 - row.start for row in self.in_order())
        column = max(longest, own_prompt - 1)
        return column, self.column + 1 - column

    def shift(self, by: int) -> None:
        """All rows have moved left."""
        for row in self.in_order():
            row.start -= by

    def remove(self, ended: set[int]) -> list[tuple[int, int]]:
        """Take out the rows of these jobs; returns (to, from) slots whose contents must move, in order."""
        moves = []
        for side, rows in enumerate(self._sides):
            for at in reversed(range(len(rows))):
                if rows[at].job in ended:
                    last = len(rows) - 1
                    if at != last:
                        moves.append((self._slot(side, at), self._slot(side, last)))
                        rows[at] = rows[last]
                    rows.pop()
        return moves

    def _slot(self, side: int, at: int) -> int:
        return self.plan.base_slots + at if side else self.plan.base_slots - 1 - at
