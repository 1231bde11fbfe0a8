"""Probes of rows that were chosen before hold exactly these rows, whichever would be nearest now."""

from __future__ import annotations

import pytest

from fakes import examples
from tunesmith.eval.evaluate import choose_items
from tunesmith.eval.probes import REWORDED, TAUGHT, TRAINING, probe_items, probes_of, training_id
from tunesmith.plan.duration import probed_rows


def test_probes_of_chosen_rows_hold_all_of_them_and_choosing_again_among_them_need_not() -> None:
    items, train = choose_items(examples(6), 0), examples(60)
    chosen = {item.id for item in probe_items(items, train)[TRAINING]}
    rows = [row for row in train if training_id(row) in chosen]
    found = probes_of(items, rows)
    assert {item.id for item in found[TRAINING]} == {item.id for item in found[REWORDED]} == chosen
    assert 0 < len(chosen) < len(train)


@pytest.mark.parametrize("count", [2, 20, 60, 100])
def test_the_plan_counts_the_rows_of_all_probes(count: int) -> None:
    found = probe_items(choose_items(examples(count), count), examples(300)[100:])
    rows = sum((1 if name == TAUGHT else 2) * len(items) for name, items in found.items())
    nearest = len(found[TRAINING])  # several questions may have the same nearest row
    assert rows - 4 * nearest == probed_rows(count) - 4 * min(40, count) or count == 2
    assert nearest <= min(40, count) and rows <= probed_rows(count)
