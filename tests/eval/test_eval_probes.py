"""Probes of rows that were chosen before hold exactly these rows, whichever would be nearest now."""

from __future__ import annotations

from fakes import examples
from tunesmith.eval.evaluate import choose_items
from tunesmith.eval.probes import REWORDED, TRAINING, probe_items, probes_of, training_id


def test_probes_of_chosen_rows_hold_all_of_them_and_choosing_again_among_them_need_not() -> None:
    items, train = choose_items(examples(6), 0), examples(60)
    chosen = {item.id for item in probe_items(items, train)[TRAINING]}
    rows = [row for row in train if training_id(row) in chosen]
    found = probes_of(items, rows)
    assert {item.id for item in found[TRAINING]} == {item.id for item in found[REWORDED]} == chosen
    assert 0 < len(chosen) < len(train)
