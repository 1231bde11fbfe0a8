"""The split keeps what belongs together whole, never moves old rows, and refuses to be useless."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_material import example

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Example
from tunesmith.data.dataset.split import Drawn, Fold, place, split

NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30, unique=True)


def rows(groups: int, per_group: int = 3, **meta: str) -> list[Example]:
    return [
        replace(example(f"q{g}.{n}?", f"a{g}.{n}", id=f"{g}.{n}", group=f"doc{g}"), meta=meta)
        for g in range(groups)
        for n in range(per_group)
    ]


def with_meta(made: list[Example], **columns: list[str]) -> list[Example]:
    """Row n gets the n-th value of each column, in turn."""
    return [
        replace(row, meta={name: values[n % len(values)] for name, values in columns.items() if values[n % len(values)]})
        for n, row in enumerate(made)
    ]


def drawn(made: list[Example], by: str = "document", **knobs: object) -> Drawn[Example]:
    return split(made, **{"by": by, "val": 0.1, "test": 0.2, "seed": 7, **knobs})  # type: ignore[arg-type]


def values_by_split(found: Drawn[Example], column: str) -> dict[str, set[str]]:
    return {str(name): {row.meta.get(column, "") for row in part} for name, part in found.parts.items()}


@given(NAMES, NAMES, st.integers(0, 100))
def test_adding_documents_never_moves_old_ones(old: list[str], new: list[str], seed: int) -> None:
    before = {name: place(name, val=0.2, test=0.3, seed=seed) for name in old}
    after = {name: place(name, val=0.2, test=0.3, seed=seed) for name in [*new, *old]}
    assert all(after[name] == before[name] for name in old)


@given(st.text(), st.integers(0, 1000))
def test_growing_the_test_share_never_takes_a_document_out_of_test(group: str, seed: int) -> None:
    if place(group, val=0.1, test=0.2, seed=seed) == "test":
        assert place(group, val=0.1, test=0.5, seed=seed) == "test"


def test_a_document_is_never_torn_apart_and_no_row_is_lost() -> None:
    everything = rows(60)
    parts = drawn(everything).parts
    groups = [{made.group for made in part} for part in parts.values()]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert sorted(made.id for part in parts.values() for made in part) == sorted(made.id for made in everything)


@pytest.mark.parametrize("knobs", [{}, {"by": "author"}, {"by": "group", "column": "customer"}, {"stratify": "label"}])
def test_a_row_lands_in_the_same_split_with_or_without_later_ones(knobs: dict[str, str]) -> None:
    columns = {"author": [f"a{n}" for n in range(61)], "customer": [f"c{n}" for n in range(59)], "label": ["x"] * 3 + ["y"] * 3}
    everything = with_meta(rows(240), **columns)
    whole = drawn(everything, **knobs)
    few = drawn(everything[:480], **knobs)
    for name, part in few.parts.items():
        assert {made.id for made in part} <= {made.id for made in whole.parts[name]}


def test_the_order_of_the_rows_moves_nothing() -> None:
    dates = [f"20{10 + n % 11}-0{1 + n % 9}-01" for n in range(99)]
    everything = with_meta(rows(99, 1), label=["x", "y"], date=dates)
    mixed = list(everything)
    random.Random(2).shuffle(mixed)
    for by in ("document", "time"):
        for name, part in drawn(everything, by).parts.items():
            assert {made.id for made in part} == {made.id for made in drawn(mixed, by).parts[name]}


def test_shares_are_about_what_was_asked() -> None:
    parts = drawn(rows(3000, 1)).parts
    assert abs(len(parts["val"]) - 300) < 60 and abs(len(parts["test"]) - 600) < 90


def test_by_row_splits_inside_a_document() -> None:
    assert all(drawn(rows(1, 100), "row").parts.values())


@pytest.mark.parametrize(("by", "column"), [("author", "author"), ("thread", "conversation_id"), ("group", "customer")])
def test_an_author_a_thread_and_a_group_stay_on_one_side(by: str, column: str) -> None:
    everything = with_meta(rows(200, 1), **{column: [f"v{n}" for n in range(40)]})
    found = drawn(everything, by, column=column if by == "group" else "")
    train, val, test = values_by_split(found, column).values()
    assert train and val and test and not train & val and not train & test and not val & test
    assert sum(found.units.values()) == 40
    by_document = values_by_split(drawn(everything), column)
    assert by_document["train"] & by_document["test"]  # the planted fault: a split by document does tear them


def test_rows_without_the_column_count_as_their_document_and_are_told() -> None:
    everything = with_meta(rows(100), author=["ann", "bob", "cy", "dee", "eve", "flo", "gus", "hal", "ida", "jo", ""])
    finding = next(f for f in drawn(everything, "author", val=0.2, test=0.3).findings if f.name == "no_author")
    assert finding.severity == "warning" and finding.count == len([row for row in everything if not row.meta])


def test_time_puts_train_before_val_before_test_and_keeps_documents_whole() -> None:
    days = [f"20{20 + n % 5}-{1 + n % 12:02d}-{1 + n % 28:02d}" for n in range(97)]
    everything = with_meta(rows(97, 2), date=[day for day in days for _ in range(2)])
    random.Random(1).shuffle(everything)
    found = drawn(everything, "time")
    train, val, test = values_by_split(found, "date").values()
    assert max(train) < min(val) <= max(val) < min(test)
    assert found.borders == (min(val), min(test))
    assert 0.1 < len(found.parts["test"]) / len(everything) < 0.3
    assert not {row.group for row in found.parts["train"]} & {row.group for row in found.parts["test"]}


def test_a_document_with_several_dates_counts_as_its_latest_so_that_nothing_later_is_learned() -> None:
    everything = with_meta(rows(50, 2), date=[f"2021-{1 + n % 12:02d}-10" for n in range(50)])
    everything[0] = replace(everything[0], meta={"date": "2022-12-31"})
    found = drawn(everything, "time")
    assert {everything[0].id, everything[1].id} <= {row.id for row in found.parts["test"]}


def test_dates_in_other_styles_are_read_and_rows_without_one_go_to_train() -> None:
    everything = with_meta(rows(40, 1), date=["12 March 2020", "2021-04-05T10:00:00Z", "2022-01-02", ""])
    others = [replace(row, id=f"n{row.id}", group=f"n{row.group}") for row in rows(40, 1)]
    everything += with_meta(others, date=[f"2019-0{n}-01" for n in range(1, 9)])
    found = drawn(everything, "time")
    assert any(finding.name == "no_time" for finding in found.findings)
    assert {row.id for row in everything if "date" not in row.meta} <= {row.id for row in found.parts["train"]}


def test_a_label_that_the_draw_leaves_out_of_a_split_is_moved_into_it() -> None:
    everything = with_meta(rows(60, 1), label=["common"] * 9 + ["rare"])
    short = 0
    for seed in range(60):
        found = drawn(everything, seed=seed, stratify="label")
        assert all(labels == {"common", "rare"} for labels in values_by_split(found, "label").values())
        short += any(f.name == "filled_splits" for f in found.findings)
    assert 0 < short < 60  # the planted fault: some draws leave the rare label out, others do not


def test_a_label_with_fewer_units_than_splits_may_be_missing() -> None:
    everything = with_meta(rows(60, 1), label=["once", *["common"] * 59])
    assert sum(drawn(everything, stratify="label").labels["once"].values()) == 1


def test_stratify_draws_within_the_label() -> None:
    everything = with_meta(rows(200, 1), label=["x", "y"])
    assert drawn(everything).parts != drawn(everything, stratify="label").parts
    assert drawn(everything, stratify="label").labels.keys() == {"x", "y"}


def test_a_column_that_no_row_has_is_an_error_that_lists_the_columns() -> None:
    everything = with_meta(rows(60), topic=["a", "b"])
    for knobs in ({"by": "group", "column": "customer"}, {"stratify": "label"}, {"by": "author"}, {"by": "time"}):
        with pytest.raises(DatasetError) as caught:
            drawn(everything, **knobs)
        assert "topic" in caught.value.problems[0].expected


def test_a_share_of_zero_leaves_that_split_empty() -> None:
    assert drawn(rows(20), val=0.0, test=0.3).parts["val"] == ()


def test_too_few_documents_is_said_with_numbers_and_a_way_out() -> None:
    with pytest.raises(DatasetError) as caught:
        drawn(rows(3))
    problem = caught.value.problems[0]
    assert "too few documents" in problem.what and "3 documents: train" in str(problem.value)
    assert "2 in train, 1 in val, 2 in test" in problem.expected and "more writing" in problem.hint


def test_fewer_than_six_test_documents_are_told_with_the_p_that_they_can_reach() -> None:
    found = drawn(rows(18))
    count = found.units["test"]
    assert 2 <= count < 6
    finding = next(f for f in found.findings if f.name == "few_test_units")
    assert f"p = {2 / 2**count:.3f}" in finding.message and "six" not in finding.message
    assert not any(f.name == "few_test_units" for f in drawn(rows(200)).findings)


def usual(made: list[Example], seed: int) -> dict[str, set[str]]:
    """The documents of each split where each is placed by its name alone."""
    found: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for row in made:
        found[place(row.group, val=0.1, test=0.2, seed=seed)].add(row.group)
    return found


@given(st.integers(5, 40), st.integers(0, 300))
def test_from_five_documents_on_no_split_is_short_and_a_draw_that_was_not_short_stays_as_it_is(count: int, seed: int) -> None:
    everything = rows(count, 1)
    before, found = usual(everything, seed), drawn(everything, seed=seed)
    after = {name: {row.group for row in part} for name, part in found.parts.items()}
    assert len(after["train"]) >= 2 <= len(after["test"]) and after["val"]
    told = [finding for finding in found.findings if finding.name == "filled_splits"]
    if len(before["train"]) >= 2 <= len(before["test"]) and before["val"]:
        assert after == before and not told
    else:
        moved = {group for name in after for group in after[name] - before[name]}
        short = {"train": 2 - len(before["train"]), "val": 1 - len(before["val"]), "test": 2 - len(before["test"])}
        assert len(moved) == sum(max(0, n) for n in short.values()) == told[0].count and set(told[0].rows) == moved
        assert all(len(after[name]) == len(before[name]) + short[name] for name in after if short[name] > 0)


@pytest.mark.parametrize("count", [13, 14])
def test_the_document_nearest_to_the_border_fills_a_split_that_is_short_and_it_is_said(count: int) -> None:
    everything = rows(count, 1)
    of_seed = {seed: usual(everything, seed) for seed in range(200)}
    seed = next(n for n, parts in of_seed.items() if not parts["val"] and len(parts["test"]) > 2)  # the planted fault
    found = drawn(everything, seed=seed)
    (moved,) = (finding for finding in found.findings if finding.name == "filled_splits")
    assert f"of {count} documents, the draw left too few in val" in moved.message and "1 into val" in moved.message
    within = (
        [row.group for row in everything if place(row.group, val=0.1 + 2 * w, test=0.2 - w, seed=seed) == "val"]
        for w in (n / 2000 for n in range(400))  # validation's interval, wider and wider on both sides
    )
    assert next(filter(None, within)) == [moved.rows[0]]


def test_a_filled_split_depends_on_the_seed_and_not_on_the_order() -> None:
    everything = rows(9, 1)
    seed = next(seed for seed in range(100) if len(usual(everything, seed)["test"]) < 2)
    assert drawn(everything, seed=seed).units == drawn(everything[::-1], seed=seed).units
    for name, part in drawn(everything, seed=seed).parts.items():
        assert {row.group for row in part} == {row.group for row in drawn(everything[::-1], seed=seed).parts[name]}


@given(st.integers(0, 200), st.lists(st.sampled_from("abc"), min_size=9, max_size=30))
def test_labels_and_filled_splits_get_on_with_each_other(seed: int, labels: list[str]) -> None:
    found = drawn(with_meta(rows(len(labels), 1), label=labels), seed=seed, stratify="label")
    assert found.units["train"] >= 2 <= found.units["test"] and found.units["val"]
    assert all(all(found.labels[label].values()) for label in "abc" if labels.count(label) >= 3)


def test_a_group_that_fills_a_split_stays_whole() -> None:
    everything = with_meta(rows(60, 1), customer=[f"c{n}" for n in range(6)])
    for seed in range(30):
        train, val, test = values_by_split(drawn(everything, "group", column="customer", seed=seed), "customer").values()
        assert len(train) >= 2 <= len(test) and val and not train & val | train & test | val & test


def test_a_few_days_fill_validation_and_test_in_their_order() -> None:
    everything = with_meta(rows(6, 1), date=[f"2024-05-0{n + 1}" for n in range(6)])
    found = drawn(everything, "time", val=0.05, test=0.1)
    train, val, test = values_by_split(found, "date").values()
    assert max(train) < min(val) <= max(val) < min(test) and len(test) == 2 and len(val) == 1
    assert found.borders == (min(val), min(test)) and any(f.name == "filled_splits" for f in found.findings)


@given(st.lists(st.sampled_from(["", "2020-01-01", "2020-01-02", "2021-03-04", "2022-05-06"]), min_size=8, max_size=40))
def test_whatever_the_days_nothing_in_train_is_later_than_the_first_of_test(days: list[str]) -> None:
    try:
        found = drawn(with_meta(rows(len(days), 1), date=days), "time", val=0.2, test=0.3)
    except DatasetError:
        return  # too few days: refused
    train, val, test = values_by_split(found, "date").values()
    assert max(train) < min(val) and max(val) < min(test)


@given(st.integers(6, 40), st.integers(2, 5), st.integers(0, 50))
def test_over_all_folds_every_document_is_tested_once_and_folds_are_of_one_size(documents: int, folds: int, seed: int) -> None:
    if documents < 2 * folds:
        return
    everything = rows(documents, 1)
    parts = [drawn(everything, seed=seed, fold=Fold(number=n, of=folds)).parts for n in range(1, folds + 1)]
    assert sorted(row.group for part in parts for row in part["test"]) == sorted(row.group for row in everything)
    sizes = [len(part["test"]) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert all(part["val"] and len([*part["train"], *part["val"], *part["test"]]) == documents for part in parts)


def test_the_folds_of_labels_have_every_label() -> None:
    made = with_meta(rows(24, 1), kind=["a", "b", "c"])
    for number in (1, 2, 3, 4):
        found = drawn(made, stratify="kind", val=0.25, fold=Fold(number=number, of=4))
        assert all(seen == {"a", "b", "c"} for seen in values_by_split(found, "kind").values())


def test_too_many_folds_are_refused_with_a_hint_and_time_has_none() -> None:
    with pytest.raises(DatasetError, match=r"fold 5 of 5[\s\S]*fewer folds"):
        drawn(rows(8), fold=Fold(number=5, of=5))
    with pytest.raises(ValueError, match="latest days"):
        drawn(rows(8, date="2024-05-01"), by="time", fold=Fold(number=1, of=2))
