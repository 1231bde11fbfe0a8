"""Promises of the metrics on text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.eval.metrics.text import (
    distinct_n,
    exact_match,
    length_matched,
    length_ratio,
    looks_cut,
    num_words,
    rouge_1,
    rouge_2,
    rouge_l,
    trim_words,
    word_overlap,
)


def test_word_overlap_is_shared_words_over_all_words() -> None:
    assert word_overlap("The cat sat", "the cat ran away") == pytest.approx(2 / 5)


def test_two_texts_without_words_overlap_fully_and_one_alone_not_at_all() -> None:
    assert word_overlap("", "...") == 1.0
    assert word_overlap("", "word") == 0.0


def test_word_overlap_knows_words_of_any_script() -> None:
    assert word_overlap("Größe zählt", "größe ZÄHLT nicht") == pytest.approx(2 / 3)


@given(st.text(), st.text())
def test_word_overlap_is_symmetric_and_between_0_and_1(a: str, b: str) -> None:
    assert word_overlap(a, b) == word_overlap(b, a)
    assert 0.0 <= word_overlap(a, b) <= 1.0


def test_rouge_l_follows_the_longest_common_subsequence() -> None:
    # LCS "the cat on the mat" has 5 words: precision 5/6, recall 5/6
    assert rouge_l("the cat sat on the mat", "the cat lay on the mat") == pytest.approx(5 / 6)


def test_rouge_l_knows_words_of_any_script() -> None:
    assert rouge_l("iPhone", "Я купил iPhone вчера") == pytest.approx(2 * 1 / 4 / (1 + 1 / 4))
    assert rouge_l("я купил ТЕЛЕФОН", "Я купил телефон") == 1.0
    assert rouge_l("anything", "日本語") == 0.0
    assert rouge_l("café", "cafe") == 0.0


@given(st.lists(st.sampled_from(["the", "cat", "sat", "mat", "7", "on"]), min_size=1, max_size=9).map(" ".join), st.data())
def test_rouge_l_is_the_library_s_own_where_all_words_are_ascii(reference: str, data: st.DataObject) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    prediction = " ".join(data.draw(st.lists(st.sampled_from(reference.split()), max_size=9)))
    assert rouge_l(prediction, reference) == RougeScorer(["rougeL"]).score(reference, prediction)["rougeL"].fmeasure


@given(st.lists(st.sampled_from(["the", "cat", "sat", "mat", "on"]), min_size=2, max_size=9).map(" ".join), st.data())
def test_rouge_1_and_2_are_the_library_s_own(reference: str, data: st.DataObject) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    prediction = " ".join(data.draw(st.lists(st.sampled_from(reference.split()), max_size=9)))
    right = RougeScorer(["rouge1", "rouge2"]).score(reference, prediction)
    assert rouge_1(prediction, reference) == right["rouge1"].fmeasure
    assert rouge_2(prediction, reference) == right["rouge2"].fmeasure


def test_rouge_1_counts_words_as_often_as_they_occur_and_rouge_2_pairs() -> None:
    assert rouge_1("the the the the", "the cat sat") == pytest.approx(2 * 1 / (4 + 3))
    assert rouge_2("the cat ran", "the cat sat") == pytest.approx(1 / 2)
    assert rouge_2("anything", "one") is None


def test_rouge_l_is_unscored_only_where_the_reference_has_no_words() -> None:
    assert rouge_l("anything", "…👍") is None
    assert rouge_l("", "a word") == 0.0


def test_exact_match_forgives_white_space_at_the_ends_only() -> None:
    assert exact_match(" yes\n", "yes") == 1.0
    assert exact_match("Yes", "yes") == 0.0


def test_length_ratio_of_an_empty_reference_is_unscored() -> None:
    assert length_ratio("one two", "") is None
    assert length_ratio("one two", "one two three four") == 0.5


def test_repetition_shows_in_distinct_runs() -> None:
    assert distinct_n("a b c d e") == 1.0
    assert distinct_n("so it goes " * 20) == pytest.approx(3 / 58)
    assert distinct_n("two words") is None


@pytest.mark.parametrize(
    "text", ["Done.", "Really?", 'He said "yes."', "wait…", "終わり。", "(so it is!)", "“Quite so.”", "End.\n"]
)
def test_a_closed_sentence_does_not_look_cut(text: str) -> None:
    assert not looks_cut(text)


@pytest.mark.parametrize("text", ["and then the", "", "one, two,", "a list:", '"quoted"'])
def test_an_open_sentence_looks_cut(text: str) -> None:
    assert looks_cut(text)


def test_trimming_keeps_white_space_and_drops_what_follows_the_last_word() -> None:
    assert trim_words("one  two\nthree, four.", 3) == "one  two\nthree"
    assert trim_words("one two.", 2) == "one two."
    assert trim_words("one", 0) == ""


def test_only_the_longer_answer_is_trimmed_to_the_reference() -> None:
    assert length_matched("a b c d e", "a b c d", "x y") == ("a b", "a b c d")
    assert length_matched("a b", "a b c d", "x y z") == ("a b", "a b c")


def test_answers_of_one_length_are_both_trimmed() -> None:
    assert length_matched("a b c", "d e f", "x y") == ("a b", "d e")


def test_an_answer_shorter_than_the_reference_stays() -> None:
    assert length_matched("a b", "a", "x y z") == ("a b", "a")


@given(st.text(), st.integers(0, 30))
def test_trimming_never_leaves_more_words_than_asked(text: str, count: int) -> None:
    trimmed = trim_words(text, count)
    assert text.startswith(trimmed)
    assert num_words(trimmed) == min(count, num_words(text))
