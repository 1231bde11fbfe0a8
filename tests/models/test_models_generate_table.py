"""The arithmetic of slots and columns: nothing overlaps, everything in use is one piece, memory stays in its budget."""

from __future__ import annotations

import random

import pytest

from tunesmith.models.generation.table import CachePlan, Row, Table, plan_cache


def plan(**changes: int) -> CachePlan:
    asked = {"num_base": 10, "num_adapted": 10, "most": 8, "prompt": 6, "room": 20, "prefix": 5, "bytes_per_token": 4}
    return plan_cache(**{**asked, "budget_bytes": 2**20, **changes})


@pytest.mark.parametrize("num_base", [0, 1, 7, 300])
@pytest.mark.parametrize("num_adapted", [0, 1, 300])
@pytest.mark.parametrize("most", [1, 2, 16, 1000])
def test_the_plan_keeps_to_its_limits(num_base: int, num_adapted: int, most: int) -> None:
    if not num_base + num_adapted:
        return
    sides = bool(num_base) + bool(num_adapted)
    for budget in (1, 40_000, 10**9):
        made = plan(num_base=num_base, num_adapted=num_adapted, most=most, budget_bytes=budget)
        assert sides <= made.slots <= max(sides, min(most, num_base + num_adapted))
        assert (made.base_slots > 0) == (num_base > 0) and (made.adapted_slots > 0) == (num_adapted > 0)
        assert made.base_slots <= num_base and made.adapted_slots <= num_adapted
        assert made.slots == sides or made.size_bytes <= budget


def test_the_plan_says_what_it_needs() -> None:
    words = plan(bytes_per_token=46_080, budget_bytes=2**30).words()
    assert words.startswith("8 answers at once in ") and "MiB" in words and "first 5 tokens shared" in words


def test_rows_that_end_leave_one_piece_and_every_row_keeps_its_own_columns() -> None:
    """A long random life of a table, its memory played by a dictionary (slot, column) → job."""
    draw = random.Random(6)
    table = Table(plan(most=7))
    memory: dict[tuple[int, int], int] = {}
    number, lives = 0, dict[int, int]()
    for _ in range(600):
        fresh = []
        for side in (0, 1):
            for _ in range(draw.randrange(0, table.free(side) + 1)):
                fresh.append((side, draw.randrange(1, 7)))
        if not len(table) and not fresh:
            continue
        column, by = table.next_column(6)
        if by:
            memory = {(slot, at - by): job for (slot, at), job in memory.items()}
            table.shift(by)
        table.column = column
        slots = dict(zip((r.job for r in table.in_order()), range(table.first, table.first + len(table)), strict=True))
        for row in table.in_order():
            memory[slots[row.job], column] = row.job
        for side, own in fresh:
            row = Row(number, own, column + 1 - own)
            table.add(side, row)
            slot = table.first + table.in_order().index(row)
            memory.update({(slot, at): number for at in range(row.start, column + 1)})
            lives[number] = draw.randrange(1, 20)
            number += 1
        assert column < table.plan.columns and table.first >= 0 and table.first + len(table) <= table.plan.slots
        for slot, row in enumerate(table.in_order(), start=table.first):
            assert row.start >= 0 and {memory[slot, at] for at in range(row.start, column + 1)} == {row.job}
            lives[row.job] -= 1
        for to, origin in table.remove({row.job for row in table.in_order() if lives[row.job] <= 0}):
            memory.update({(to, at): job for (slot, at), job in list(memory.items()) if slot == origin})
    assert number > 300
