"""Test rows that share an author, a thread or a near copy count as one: many names for one post cannot carry a verdict."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from evidence_fakes import evidence, general, parity
from judging_fakes import GOOD, decided

from fakes import example
from tunesmith.core.records import Example
from tunesmith.eval.evaluate import choose_items
from tunesmith.eval.item_clusters import cluster_rows

_SYLLABLES = [a + b for a in "bdfgklmnprstv" for b in ("a", "e", "i", "o", "u", "an", "er", "il", "on", "us")]


def post(seed: int, *, changed: int | None = None) -> str:
    """A post of 300 words; with `changed`, that seed replaces 12 % of them."""
    draw = random.Random(seed)
    said = ["".join(draw.choices(_SYLLABLES, k=3)) for _ in range(300)]
    other = random.Random(changed)
    if changed is not None:
        said = ["".join(other.choices(_SYLLABLES, k=3)) if other.random() < 0.12 else word for word in said]
    return " ".join(said)


def row(number: int, answer: str, **meta: str) -> Example:
    return replace(example(f"What of {number}?", answer, id=f"r{number:02d}", group=f"post-{number:02d}"), meta=meta)


def one_post_under_thirty_names() -> list[Example]:
    return [row(n, post(1, changed=n)) for n in range(30)]


def groups(rows: list[Example]) -> Mapping[str, str]:
    return {item.id: item.group for item in choose_items(rows, 0)}


def test_one_post_under_thirty_names_is_one_cluster_and_that_is_told() -> None:
    rows = one_post_under_thirty_names()
    assert set(groups(rows).values()) == {"post-00"} and groups(rows[::-1]) == groups(rows)
    found = cluster_rows(rows)
    assert found.effective_documents == 1 and "29 by the same near copy" in found.reason
    assert cluster_rows([row(n, post(n)) for n in range(30)]).effective_documents == 30


def test_one_post_under_thirty_names_cannot_be_told_however_large_the_gain() -> None:
    found = evidence(GOOD, documents=30, each=1, with_parity=parity(), with_general=general())
    assert decided(found).verdict == "SHIP"  # the planted fault: thirty names taken for thirty documents
    group = list(groups(one_post_under_thirty_names()).values())
    same = tuple(replace(item, group=name) for item, name in zip(found.items, group, strict=True))
    assert decided(replace(found, items=same)).verdict == "CAN'T TELL"


def test_threads_join_and_authors_join_where_there_are_several() -> None:
    rows = [row(n, post(n), thread=f"t{n // 2}") for n in range(6)]
    assert list(cluster_rows(rows).names) == ["post-00", "post-00", "post-02", "post-02", "post-04", "post-04"]
    several = [row(n, post(n), author=f"author {n % 3}") for n in range(9)]
    assert cluster_rows(several).effective_documents == 3
    assert cluster_rows([row(n, post(n), author="one") for n in range(9)]).effective_documents == 9


def test_a_document_that_nothing_is_joined_to_keeps_its_name() -> None:
    rows = [row(n, post(n)) for n in range(5)]
    assert groups(rows) == {r.id: r.group for r in rows}


def test_rows_that_the_split_kept_together_are_one_cluster() -> None:
    rows = [row(n, post(n), form=f"form {n % 3}") for n in range(9)]
    assert cluster_rows(rows).effective_documents == 9
    assert cluster_rows(rows, "form").effective_documents == 3
    assert len({item.group for item in choose_items(rows, 0, "form")}) == 3
    assert cluster_rows([*rows, row(9, post(9))], "form").effective_documents == 4  # a row without a value stays its document
