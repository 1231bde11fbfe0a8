"""The fast shingles agree with the plain definition for any text, however texts are batched."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near_copies import exact_jaccard, prose, runs

from tunesmith.data.similar.search import jaccard
from tunesmith.data.similar.shingles import shingled, words_of

TEXTS = st.lists(st.text(alphabet=st.sampled_from("aB é—.’'ß日本\u0301ﬁ９ \n\0Ωप्"), max_size=60), min_size=1, max_size=8)
ANY_TEXTS = st.lists(st.text(max_size=40), min_size=1, max_size=6)


@given(st.one_of(TEXTS, ANY_TEXTS))
@settings(max_examples=300)
def test_shingles_are_those_of_the_plain_definition(texts: list[str]) -> None:
    made = shingled(texts)
    distinct: dict[tuple[str, ...], int] = {}
    for number, text in enumerate(texts):
        assert made.num_words_D[number] == len(words_of(text))
        hashes = made.of(number).tolist()
        expected = runs(text)
        assert len(hashes) == len(expected)
        if len(expected) == 1:
            assert distinct.setdefault(next(iter(expected)), hashes[0]) == hashes[0]
    for i, first in enumerate(texts):
        for j, second in enumerate(texts[:i]):
            if words_of(first) and words_of(second):
                assert jaccard(made.of(i), made.of(j)) == exact_jaccard(first, second)
                assert (made.digests_D2[i] == made.digests_D2[j]).all() == (words_of(first) == words_of(second))


@given(TEXTS)
def test_a_text_has_the_same_shingles_alone_and_among_others(texts: list[str]) -> None:
    together = shingled(texts)
    for number, text in enumerate(texts):
        alone = shingled([text])
        assert (alone.of(0) == together.of(number)).all() and (alone.digests_D2[0] == together.digests_D2[number]).all()


def test_pieces_of_a_large_batch_fit_together() -> None:
    texts = [prose(seed, 3000) for seed in range(40)]  # beyond the size handled at once
    together = shingled(texts)
    assert all((shingled([text]).of(0) == together.of(number)).all() for number, text in enumerate(texts))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("The CAFÉ — isn’t open.", "the cafe\u0301 isn't open"),
        ("ﬁne ﬂour", "fine flour"),
        ("ＡＢＣ １２３", "abc 123"),
        ("STRASSE Straße", "strasse straße"),
        ("한글", "\u1112\u1161\u11ab\u1100\u1173\u11af"),
    ],
)
def test_spellings_of_one_text_are_one_text(first: str, second: str) -> None:
    made = shingled([first, second])
    assert words_of(first) == words_of(second) and (made.digests_D2[0] == made.digests_D2[1]).all()


def test_chinese_is_compared_character_by_character() -> None:
    assert words_of("修理水壶 ok") == ["修", "理", "水", "壶", "ok"]


def test_ascii_words_are_runs_of_letters_and_digits() -> None:
    text = "It's 3.5 km — a_b; x-y (re: #7)\tend"
    assert words_of(text) == re.findall(r"[a-z0-9]+", text.lower())


def test_repeats_inside_a_text_count_once() -> None:
    once, twice = shingled(["a b c d e f g"]), shingled(["a b c d e f g a b c d e f g"])
    assert len(once.of(0)) == 3 and len(twice.of(0)) == 7 and np.isin(once.of(0), twice.of(0)).all()
