"""The split keeps documents whole, never moves old ones, and refuses to be useless."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_material import example

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Example
from tunesmith.data.split import place, split

NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30, unique=True)


def rows(groups: int, per_group: int = 3) -> list[Example]:
    return [example(f"q{g}.{n}?", f"a{g}.{n}", id=f"{g}.{n}", group=f"doc{g}") for g in range(groups) for n in range(per_group)]


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
    parts = split(everything, by="document", val=0.1, test=0.2, seed=7)
    groups = [{made.group for made in part} for part in parts.values()]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert sorted(made.id for part in parts.values() for made in part) == sorted(made.id for made in everything)


def test_the_same_document_lands_in_the_same_split_with_or_without_the_others() -> None:
    whole = split(rows(60), by="document", val=0.1, test=0.2, seed=7)
    grown = split(rows(90), by="document", val=0.1, test=0.2, seed=7)
    for name, part in whole.items():
        assert {made.id for made in part} <= {made.id for made in grown[name]}


def test_shares_are_about_what_was_asked() -> None:
    parts = split(rows(3000, 1), by="document", val=0.1, test=0.2, seed=7)
    assert abs(len(parts["val"]) - 300) < 60 and abs(len(parts["test"]) - 600) < 90


def test_by_row_splits_inside_a_document() -> None:
    parts = split(rows(1, 100), by="row", val=0.1, test=0.2, seed=7)
    assert all(parts.values())


def test_a_share_of_zero_leaves_that_split_empty() -> None:
    assert split(rows(20), by="document", val=0.0, test=0.3, seed=7)["val"] == ()


def test_too_few_documents_is_said_with_numbers_and_a_way_out() -> None:
    with pytest.raises(DatasetError) as caught:
        split(rows(3), by="document", val=0.1, test=0.2, seed=7)
    problem = caught.value.problems[0]
    assert "too few documents" in problem.what and "3 documents: train" in str(problem.value)
    assert "2 in train, 1 in val, 2 in test" in problem.expected and "more writing" in problem.hint


def test_the_seed_that_the_hint_offers_works() -> None:
    for seed in range(50):
        try:
            split(rows(9), by="document", val=0.1, test=0.2, seed=seed)
        except DatasetError as error:
            offered = re.search(r"split\.seed=(\d+)", error.problems[0].hint)
            assert offered
            assert all(split(rows(9), by="document", val=0.1, test=0.2, seed=int(offered[1])).values())
            return
    raise AssertionError("no seed failed: the test needs one that does")
