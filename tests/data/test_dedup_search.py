"""Recall and precision of the search for near copies, and that neither order nor workers change what it finds."""

from __future__ import annotations

import random

import numpy as np
import pytest
from near_copies import brute_pairs, exact_jaccard, prose, with_changes
from shared_material import ingest, material

from tunesmith.data.similar.engine import local_engine
from tunesmith.data.similar.minhash import MOST_IN_A_BAND, candidate_pairs, rows_for
from tunesmith.data.similar.search import Corpus, Found, find_copies, sketch_texts


def found_in(texts: list[str], threshold: float = 0.8, workers: int = 1) -> Found:
    return find_copies(
        Corpus(sketch_texts(texts, threshold=threshold), texts), threshold=threshold, engine=local_engine(workers)
    )


def labelled(count: int, lengths: tuple[int, ...] = (12, 30, 80, 250, 700)) -> list[str]:
    """Texts in pairs, each with some words of its twin changed so that the Jaccard index lies around 0.8."""
    texts = []
    for number in range(count):
        length = lengths[number % len(lengths)]
        base = prose(number, length)
        changes = random.Random(number).randint(0, max(1, length // 30))
        texts += [base, with_changes(base, changes, number)]
    return texts


def test_recall_is_at_least_999_in_1000_and_precision_is_one() -> None:
    texts = labelled(3000, (12, 30, 80, 250))
    similarity = {(2 * n, 2 * n + 1): exact_jaccard(texts[2 * n], texts[2 * n + 1]) for n in range(3000)}
    near = {pair for pair, value in similarity.items() if value >= 0.8}
    hard = {pair for pair in near if similarity[pair] < 0.87}
    found = found_in(texts)
    got = {tuple(cluster) for cluster in found.clusters}
    assert len(near) > 1500 and len(hard) > 200
    assert len(got & near) >= 0.999 * len(near)
    assert got <= near  # twins below 0.8 and strangers are never joined


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9, 1.0])
def test_every_threshold_finds_what_comparing_all_with_all_finds(threshold: float) -> None:
    texts = labelled(60, (8, 20, 60))
    for number in range(40):
        texts.append(with_changes(texts[number], max(1, len(texts[number].split()) // 12), number + 99))
    wanted = brute_pairs(texts, threshold)
    found = found_in(texts, threshold)
    assert wanted and found.num_pairs >= 0.99 * len(wanted)
    assert found.num_pairs <= len(wanted)


def test_the_bands_are_forty_of_six_at_eight_tenths_and_more_where_the_threshold_is_lower() -> None:
    assert rows_for(0.8) == 6 and rows_for(1.0) == 6
    for threshold in np.arange(0.2, 1.0, 0.01):
        rows = rows_for(threshold)
        assert (1 - threshold**rows) ** (240 // rows) <= 0.001 or rows == 1


def test_order_and_workers_change_nothing() -> None:
    texts = labelled(400)
    ids = list(range(len(texts)))
    random.Random(1).shuffle(ids)
    here, there = found_in(texts), found_in([texts[i] for i in ids], workers=3)
    moved = tuple(sorted(tuple(sorted(ids[member] for member in cluster)) for cluster in there.clusters))
    assert moved == here.clusters and there.num_pairs == here.num_pairs


def test_pairs_count_exact_and_near_copies_once_each() -> None:
    base = prose(1, 200)
    near = with_changes(base, 1, 1)
    texts = [base, base.upper(), near, base + ".", near, prose(2, 200)]
    found = found_in(texts)
    assert found.clusters == ((0, 1, 2, 3, 4),) and found.num_pairs == len(brute_pairs(texts, 0.8)) == 10


@pytest.mark.parametrize(
    ("texts", "clusters"),
    [
        (["red kettle", "Red kettle!", "red kettles"], ((0, 1),)),  # under five words: the same words alone
        (["one two three four", "one two three four five"], ()),
        (["a b c d e", "a b c d f"], ()),
        (["—", "—", "…"], ((0, 1),)),  # no words: the same but for blanks
        ([], ()),
        (["alone"], ()),
    ],
)
def test_short_texts_are_copies_only_word_for_word(texts: list[str], clusters: tuple[tuple[int, ...], ...]) -> None:
    assert found_in(texts).clusters == clusters


def test_many_rows_from_one_template_are_all_paired_up_to_a_bound_and_beyond_it_that_is_said() -> None:
    keys = np.zeros((300, 2), np.uint32)
    pairs, cut = candidate_pairs(keys)
    assert len(pairs) == 300 * 299 // 2 and cut == 0
    pairs, cut = candidate_pairs(np.zeros((MOST_IN_A_BAND + 1, 1), np.uint32))
    assert cut == 1 and len(pairs) == sum(range(MOST_IN_A_BAND + 1 - 200, MOST_IN_A_BAND + 1))


def test_copies_among_real_posts_are_those_of_comparing_all_with_all() -> None:
    documents = ingest(material("writing/18f")).documents[:150]
    texts = [document.text for document in documents]
    texts += [with_changes(text, max(1, len(text.split()) // 60), number) for number, text in enumerate(texts[:40])]
    assert found_in(texts).num_pairs == len(brute_pairs(texts, 0.8)) > 20
