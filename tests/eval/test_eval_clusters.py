"""Promises of the clusters: what shares a label is one, through chains too; an author joins only among several."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.eval.clusters import clusters, effective_documents


def unit(document: str, author: str | None = None, thread: str | None = None, copy: str | None = None) -> dict[str, str | None]:
    return {"document": document, "thread": thread, "near_copy": copy, "author": author}


def test_items_of_one_document_are_one_cluster() -> None:
    found = clusters([unit("a"), unit("a"), unit("b")])
    assert found.names == ("document:a", "document:a", "document:b")
    assert found.effective_documents == 2
    assert found.reason.startswith("3 items from 2 documents are 2 clusters")


def test_a_chain_of_shared_labels_joins_all_of_it() -> None:
    found = clusters([unit("a", thread="t"), unit("b", thread="t", copy="c"), unit("c", copy="c"), unit("d")])
    assert found.names == ("document:a",) * 3 + ("document:d",)
    assert "1 by the same thread, 1 by the same near copy joined" in found.reason


def test_one_post_under_thirty_names_is_one_effective_document() -> None:
    found = clusters([unit(f"post-{n}", copy="same text") for n in range(30)])
    assert found.effective_documents == 1
    assert clusters([unit(f"post-{n}") for n in range(30)]).effective_documents == 30  # the planted fault: copies not known


def test_labels_of_different_kinds_do_not_join_though_they_are_spelled_alike() -> None:
    found = clusters([unit("x"), unit("b", thread="x")])
    assert found.effective_documents == 2
    assert len(set(found.names)) == 2


def test_several_authors_are_the_clusters() -> None:
    found = clusters([unit(f"d{n}", author=f"author {n % 3}") for n in range(12)])
    assert found.effective_documents == 3
    assert "9 by the same author joined" in found.reason


@pytest.mark.parametrize(
    ("authors", "why"),
    [
        (["ann"] * 4, "only one author"),
        (["ann", "ann", "ann", "bob"], "one author has 3 of 4 documents"),
        ([None] * 4, "no author is named"),
    ],
)
def test_an_author_whom_the_verdict_is_about_joins_nothing(authors: list[str | None], why: str) -> None:
    found = clusters([unit(f"d{n}", author=author) for n, author in enumerate(authors)])
    assert found.effective_documents == 4
    assert why in found.reason


def test_half_of_the_documents_is_not_more_than_half() -> None:
    assert clusters([unit("a", "ann"), unit("b", "ann"), unit("c", "bob"), unit("d", "eve")]).effective_documents == 3


def test_documents_are_counted_after_threads_and_copies_are_joined() -> None:
    # ann has three of five posts, but two are one thread: two of four documents, which is not more than half
    posts = [unit("a", "ann", "t"), unit("b", "ann", "t"), unit("c", "ann"), unit("d", "bob"), unit("e", "eve")]
    assert clusters(posts).effective_documents == 3


def test_items_without_labels_stay_alone_and_nothing_has_no_clusters() -> None:
    assert clusters([{}, {}, {"document": None}]).effective_documents == 3
    assert clusters([]).names == ()


LABELS = st.fixed_dictionaries(
    {kind: st.sampled_from([None, "1", "2", "3", "4"]) for kind in ("document", "thread", "near_copy")}
)


@given(st.lists(LABELS, max_size=12), st.randoms(use_true_random=False))
def test_the_partition_is_the_coarsest_and_does_not_depend_on_the_order(
    units: list[dict[str, str | None]], chance: random.Random
) -> None:
    names = clusters(units).names
    for i, one in enumerate(units):  # whatever shares a label is together
        for j, other in enumerate(units):
            if any(label is not None and label == other[kind] for kind, label in one.items()):
                assert names[i] == names[j]
    for cluster in set(names):  # and a cluster cannot be parted without cutting through a label
        inside = {i for i, name in enumerate(names) if name == cluster}
        reached, waiting = set[int](), [min(inside)]
        while waiting:
            item = waiting.pop()
            reached.add(item)
            waiting += [
                j
                for j in inside - reached
                if any(label is not None and label == units[j][kind] for kind, label in units[item].items())
            ]
        assert reached == inside
    order = list(range(len(units)))
    chance.shuffle(order)
    shuffled = clusters([units[i] for i in order]).names
    assert len(set(shuffled)) == len(set(names))
    assert all((shuffled[a] == shuffled[b]) == (names[order[a]] == names[order[b]]) for a in order for b in order)


def test_effective_documents_fall_where_one_document_has_most_items() -> None:
    groups = ["giant"] * 40 + [f"d{n}" for n in range(20)]
    assert effective_documents(groups) == 21
    assert effective_documents(groups, "items") == pytest.approx(3600 / 1620)
    assert effective_documents(["a", "b", "c"], "items") == pytest.approx(3)
    assert effective_documents([], "items") == 0
