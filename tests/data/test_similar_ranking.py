"""Which texts fit a query best: rare shared words first, whatever the script, and nothing where nothing is shared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tunesmith.core.errors import ModelError
from tunesmith.data.similar import ranking
from tunesmith.data.similar.ranking import best, rank_by_vectors, rank_by_words, ranker_named
from tunesmith.data.similar.shingles import words_of

TEXTS = (
    "How I repaired the kettle in the kitchen.",
    "A kettle and a ladder stood in the rain.",
    "The rain fell on the garden all day.",
    "雨が庭に降った。",
    "Die Straße war naß, und der Kessel pfiff.",
)


def found(query: str, most: int = 5) -> list[int]:
    return best(rank_by_words(TEXTS)(query), most)


def test_the_text_with_most_rare_words_of_the_query_comes_first() -> None:
    assert found("repairing kettles") == [0, 1]
    assert found("ladder in the rain")[0] == 1
    assert found("rain", 1) == [2] or found("rain", 1) == [1]


def test_words_of_other_scripts_and_accents_written_otherwise_are_found() -> None:
    assert found("庭") == [3]
    assert found("STRASSE") == [] and found("straße") == [4]
    assert rank_by_words(["un cafe\u0301 noir", "a cup"])("café")[0] > 0


@pytest.mark.parametrize(
    "text", ["It’s the 2nd “kettle”, isn't it? x_y 3.5", "naïve Æ \u00a0 雨が庭に　降った don’t\nso", *TEXTS]
)
def test_words_are_those_of_the_plain_definition(text: str) -> None:
    assert list(ranking._words(text)) == words_of(text)


@pytest.mark.parametrize("query", ["", "  \n", "!?", "the of and", "zeppelin"])
def test_a_query_that_shares_nothing_finds_nothing(query: str) -> None:
    assert found(query) == []


def test_texts_without_words_and_no_texts_at_all_can_be_asked() -> None:
    assert list(rank_by_words([])("kettle")) == []
    assert list(rank_by_words(["", "the"])("kettle")) == [0, 0]
    assert best(rank_by_words(["", "kettle"])("kettle"), 3) == [1]


def test_the_scores_are_those_of_the_formula() -> None:
    """Lucene's BM25: idf · tf / (tf + k1 (1 − b + b · length / mean length)), idf = ln(1 + (N − n + ½) / (n + ½))."""
    texts = ["kettle kettle ladder", "ladder rain", "rain rain rain garden"]
    idf = np.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    wanted = idf * 2 / (2 + 1.5 * (1 - 0.75 + 0.75 * 3 / 3))
    assert rank_by_words(texts)("kettle") == pytest.approx([wanted, 0, 0], rel=1e-5)


def test_ranking_by_vectors_orders_by_their_cosine() -> None:
    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[1.0, 0.0] if "wet" in text else [0.6, 0.8] for text in texts], np.float32)

    scores = rank_by_vectors(["dry", "wet"], embed)
    assert list(scores("wet")) == pytest.approx([0.6, 1.0]) and best(scores("wet"), 1) == [1]
    assert list(scores("  ")) == [0, 0]


def test_an_encoder_that_is_no_folder_is_named() -> None:
    with pytest.raises(ModelError, match="folder"):
        ranker_named("/no/such/encoder", TEXTS)
    assert best(ranker_named("words", TEXTS)("ladder"), 1) == [1]
