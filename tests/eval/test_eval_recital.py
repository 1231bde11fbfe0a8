"""Promise: copied words are found whichever training rows they come from, and shared phrases are not called a recital."""

from __future__ import annotations

from tunesmith.eval.recital import TrainingText

ROWS = [" ".join(f"{row}{n}" for n in range(40)) for row in "abc"]
TRAINING = TrainingText(ROWS)


def words_of(row: int, start: int, count: int) -> str:
    return " ".join(ROWS[row].split()[start : start + count])


def own(count: int) -> str:
    return " ".join(f"own{n}" for n in range(count))


def test_sentences_of_several_rows_are_a_recital_although_no_single_run_is_long() -> None:
    found = TRAINING.longest_run(f"{words_of(0, 3, 10)}. {words_of(1, 0, 10)}! {words_of(2, 20, 9)}, {own(5)}")
    assert (found.run, found.copied, found.num_words, found.is_recital) == (10, 29, 34, True)


def test_runs_shorter_than_eight_words_do_not_add_up() -> None:
    found = TRAINING.longest_run(f"{words_of(0, 3, 7)} {words_of(1, 0, 7)} {words_of(2, 20, 7)}")
    assert (found.run, found.copied, found.is_recital) == (0, 0, False)


def test_less_than_half_of_an_answer_is_no_recital_and_one_phrase_of_a_short_answer_is_none() -> None:
    assert not TRAINING.longest_run(f"{words_of(0, 0, 15)} {own(16)} {words_of(1, 0, 8)} {own(8)}").is_recital
    assert not TRAINING.longest_run(words_of(0, 0, 11)).is_recital
    assert TRAINING.longest_run(words_of(0, 0, 12)).is_recital


def test_thirty_eight_words_in_a_row_are_one_in_an_answer_of_any_length() -> None:
    assert TRAINING.longest_run(f"{own(300)} {words_of(1, 1, 38)}").is_recital
    assert TRAINING.longest_run(f"{own(300)} {words_of(1, 1, 38)}").run == 38
    assert not TRAINING.longest_run(f"{own(300)} {words_of(1, 1, 37)}").is_recital


def test_words_covered_by_two_overlapping_runs_count_once() -> None:
    training = TrainingText([" ".join("abcdefghij"), " ".join("cdefghijkl")])
    found = training.longest_run(" ".join("abcdefghijkl"))
    assert (found.copied, found.num_words, found.is_recital) == (12, 12, True)
