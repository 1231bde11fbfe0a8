"""Rewordings are found by what texts say: planted ones at a stated recall, strangers never, whatever the order."""

from __future__ import annotations

import random
from typing import Unpack

import numpy as np
import pytest
from near_copies import exact_jaccard, prose
from shared_material import example

from tunesmith.core.records import Document
from tunesmith.data.ingest.item import Facts, make_document
from tunesmith.data.similar.records import find_rewordings, without_near_copies
from tunesmith.data.similar.semantic import BY_WORDS, content_words, embed_by_words, similar_pairs


def text(seed: int) -> str:
    return ". ".join(prose(100 * seed + n, 12) for n in range(6))


def reworded(said: str, share: float, seed: int) -> str:
    """Sentences shuffled and turned around, and a share of the words replaced."""
    draw = random.Random(seed)
    sentences = [sentence.split() for sentence in said.split(". ")]
    draw.shuffle(sentences)
    fresh = prose(seed + 10**6, 200).split()
    turned = [[draw.choice(fresh) if draw.random() < share else word for word in words[6:] + words[:6]] for words in sentences]
    return ". ".join(" ".join(words) for words in turned)


@pytest.mark.parametrize(("share", "recall"), [(0.0, 0.99), (0.1, 0.9)])
def test_planted_rewordings_are_found_and_strangers_are_not(share: float, recall: float) -> None:
    texts = [text(n) for n in range(400)]
    planted = [reworded(said, share, n) for n, said in enumerate(texts[:60])]
    assert max(exact_jaccard(a, b) for a, b in zip(texts, planted, strict=False)) < 0.8  # MinHash cannot see them
    pairs = similar_pairs(embed_by_words([*texts, *planted]), threshold=0.7)
    right = [(a, b) for a, b, _ in pairs if b == a + 400]
    assert len(right) >= recall * 60 and len(pairs) == len(right)


def test_the_order_of_the_texts_changes_no_pair() -> None:
    texts = [text(n) for n in range(300)] + [reworded(text(n), 0.05, n) for n in range(20)]
    order = list(range(320))
    random.Random(3).shuffle(order)
    here = {(a, b) for a, b, _ in similar_pairs(embed_by_words(texts), threshold=0.75)}
    there = similar_pairs(embed_by_words([texts[n] for n in order]), threshold=0.75)
    assert here == {(min(order[a], order[b]), max(order[a], order[b])) for a, b, _ in there} and len(here) >= 18


def test_pairs_are_those_of_the_plain_product_in_any_block_and_may_be_kept_to_two_sides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    plain = {(i, j) for j in range(50) for i in range(j) if vectors[i] @ vectors[j] >= 0.5}
    monkeypatch.setattr("tunesmith.data.similar.semantic._BLOCK", 7)
    assert {(a, b) for a, b, _ in similar_pairs(vectors, threshold=0.5)} == plain
    sided = {(a, b) for a, b, _ in similar_pairs(vectors, threshold=0.5, first=20)}
    assert sided == {(a, b) for a, b in plain if a < 20 <= b} and sided


def test_texts_of_few_content_words_say_too_little_to_be_compared() -> None:
    texts = ["It is what it was.", "It was what it is.", *[text(n) for n in range(5)]]
    assert similar_pairs(BY_WORDS.vectors(texts), threshold=0.1, first=2) == []
    assert content_words("The kettles were being mended, quickly!") == ["kettl", "mend", "quick"]


def test_rewordings_of_any_split_are_told_once_by_the_worse_name_and_copies_are_left_to_the_search_for_copies() -> None:
    rows = {
        "test": [example(f"t{n}?", text(n), id=f"t{n}") for n in range(5)],
        "golden": [example("g?", text(9), id="g")],
        "train": [example(f"{n}?", text(1000 + n), id=f"{n}") for n in range(60)],
    }
    assert find_rewordings(rows) == ()
    planted = [example("a?", reworded(text(1), 0.0, 1), id="a"), example("b?", reworded(text(9), 0.0, 2), id="b")]
    rows["train"] += [*planted, example("c?", text(2), id="c")]
    found = {finding.name: finding for finding in find_rewordings(rows)}
    assert found["rewordings"].rows == ("train:a ~ test:t1",) and found["rewordings"].severity == "warning"
    assert found["golden_rewordings"].rows == ("train:b ~ golden:g",) and len(found) == 2


def test_splits_of_any_names_are_compared_two_by_two() -> None:
    said = [example(f"{n}?", text(n), id=f"{n}") for n in range(30)]
    other = [example("a?", reworded(text(7), 0.0, 1), id="a"), *said[15:20]]
    (found,) = find_rewordings({"one": said[:10], "two": said[10:15], "three": other})
    assert found.rows == ("one:7 ~ three:a",)


def test_the_better_document_stays_by_the_stated_rule_whatever_the_order() -> None:
    said = prose(1, 80)

    def post(name: str, words: str, **known: Unpack[Facts]) -> Document:
        return make_document(name=name, text=words, extraction="test", **known)

    longer = post("b.md", said + " and more")
    dated = post("c.md", prose(2, 80), date="2020-01-01", author="ann")
    early = post("f.md", prose(3, 80), date="2019-01-01")
    posts = [
        post("a.md", said),
        longer,
        dated,
        post("d.md", prose(2, 80)),
        post("e.md", prose(3, 80), date="2021-01-01"),
        early,
    ]
    alone = post("g.md", prose(4, 80))
    for turn in range(4):
        mixed = [*posts, alone]
        random.Random(turn).shuffle(mixed)
        assert {document.id for document in without_near_copies(mixed, 0.8)} == {longer.id, dated.id, early.id, alone.id}
