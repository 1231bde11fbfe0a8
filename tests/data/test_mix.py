"""Mixtures: weights, caps and the general share do what they say, move nothing that was there, and name what has no effect."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_material import example

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Example
from tunesmith.data.dataset.mix import Mixture, general_rows, mix


def rows(source: str, count: int) -> list[Example]:
    return [replace(example(f"{source} {n}?", f"{source} says {n}", id=f"{source}-{n}"), source=source) for n in range(count)]


def mixed(own: list[Example], general: list[Example] | None = None, **knobs: object) -> Mixture[Example]:
    return mix(own, general or [], **{"weights": {}, "max_source": 1.0, "share": 0.2, **knobs})  # type: ignore[arg-type]


def per_source(found: Mixture[Example]) -> Counter[str]:
    return Counter(row.source for row in found.rows)


def test_without_knobs_the_rows_pass_as_they_are() -> None:
    own = [*rows("a", 10), *rows("b", 5)]
    found = mixed(own)
    assert found.rows == tuple(own) and found.findings == () and found.general_share == 0
    assert [(s.source, s.rows, s.seen, s.passes) for s in found.sources] == [("a", 10, 10, 1.0), ("b", 5, 5, 1.0)]


def test_a_weight_shows_rows_so_many_times_an_epoch_and_the_passes_are_told() -> None:
    found = mixed([*rows("notes-1", 100), *rows("posts", 400)], weights={"notes-*": 2.5, "posts": 0.5})
    shares = {s.source: s for s in found.sources}
    assert 230 <= per_source(found)["notes-1"] <= 270 and 170 <= per_source(found)["posts"] <= 230
    assert shares["notes-1"].rows == 100 and shares["posts"].rows == shares["posts"].seen
    assert shares["posts"].left_out == 400 - shares["posts"].rows
    assert abs(shares["notes-1"].passes - 2.5) < 0.2
    assert len({row.id for row in found.rows}) == len(found.rows)  # each showing has an id of its own


def test_new_rows_change_nothing_about_old_ones() -> None:
    few, many = rows("a", 60), rows("a", 120)
    here = {row.id for row in mixed(few, weights={"a": 0.5}).rows}
    there = {row.id for row in mixed(many, weights={"a": 0.5}).rows}
    assert here == there & {row.id for row in few}


@given(st.lists(st.integers(1, 60), min_size=2, max_size=8), st.floats(0.15, 1.0))
def test_no_source_is_above_its_cap_and_as_many_rows_stay_as_can(counts: list[int], cap: float) -> None:
    own = [row for number, count in enumerate(counts) for row in rows(f"s{number}", count)]
    if len(counts) * cap < 1:
        with pytest.raises(DatasetError, match="cap"):
            mixed(own, max_source=cap)
        return
    kept = per_source(mixed(own, max_source=cap))
    total = sum(kept.values())
    assert max(kept.values()) <= max(1, cap * total)
    assert cap < 1 or total == len(own)


def test_general_rows_make_up_the_share_and_a_larger_set_only_adds() -> None:
    general = rows("general", 1000)
    some = general_rows(general, num_own=400, share=0.2)
    more = general_rows(general, num_own=800, share=0.2)
    assert len(some) == 100 and {row.id for row in some} <= {row.id for row in more}
    found = mixed(rows("own", 400), list(some))
    assert found.general_share == 0.2 and found.findings == ()


@pytest.mark.parametrize(("share", "told"), [(0.05, True), (0.1, False), (0.3, False), (0.5, True)])
def test_a_general_share_outside_10_to_30_percent_is_a_finding(share: float, told: bool) -> None:
    own = rows("own", 450)
    found = mixed(own, list(general_rows(rows("general", 1000), num_own=450, share=share)), share=share)
    assert any(finding.name == "general_share" for finding in found.findings) == told


def test_a_general_set_that_is_too_small_is_told() -> None:
    found = mixed(rows("own", 400), list(general_rows(rows("general", 60), num_own=400, share=0.25)), share=0.25)
    assert {finding.name for finding in found.findings} == {"general_too_small"}


def test_a_weight_that_fits_no_source_and_weights_that_leave_nothing_are_errors() -> None:
    with pytest.raises(DatasetError, match="fits no source"):
        mixed(rows("posts", 5), weights={"post": 2.0})
    with pytest.raises(DatasetError, match="no rows are left"):
        mixed(rows("posts", 5), weights={"*": 0.0})
