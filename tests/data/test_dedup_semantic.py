"""Rewordings are found by what texts say: planted ones at a stated recall, strangers never, whatever the order."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from near_copies import exact_jaccard, prose

from tunesmith.core.records import Document
from tunesmith.data.dedup.records import without_near_copies
from tunesmith.data.dedup.semantic import content_words, embed_by_words, similar_pairs
from tunesmith.data.ingest.item import make_document


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
    monkeypatch.setattr("tunesmith.data.dedup.semantic._BLOCK", 7)
    assert {(a, b) for a, b, _ in similar_pairs(vectors, threshold=0.5)} == plain
    sided = {(a, b) for a, b, _ in similar_pairs(vectors, threshold=0.5, first=20)}
    assert sided == {(a, b) for a, b in plain if a < 20 <= b} and sided


def test_texts_of_few_content_words_say_too_little_to_be_compared() -> None:
    texts = ["It is what it was.", "It was what it is.", *[text(n) for n in range(5)]]
    assert similar_pairs(embed_by_words(texts), threshold=0.1, first=2) == []
    assert content_words("The kettles were being mended, quickly!") == ["kettl", "mend", "quick"]


def test_a_model_without_the_extra_is_an_error_that_says_what_to_install() -> None:
    code = "import sys; sys.modules['sentence_transformers'] = None\n"
    code += "from tunesmith.data.dedup.semantic import transformer_embed; transformer_embed('some/model')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "sentence-transformers is not installed" in done.stderr and "[semantic]" in done.stderr


@pytest.mark.slow
def test_a_sentence_transformers_model_gives_unit_vectors(tiny_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra semantic")
    code = (
        "import sys; import numpy as np; from tunesmith.data.dedup.semantic import transformer_embed\n"
        "v = transformer_embed(sys.argv[1])(['one two', 'one two', 'other words here'])\n"
        "assert np.allclose(np.linalg.norm(v, axis=1), 1, atol=1e-3) and np.allclose(v[0], v[1], atol=1e-5)"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny_path)], check=True, capture_output=True)


def test_the_better_document_stays_by_the_stated_rule_whatever_the_order() -> None:
    said = prose(1, 80)

    def post(name: str, words: str, **known: str) -> Document:
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
