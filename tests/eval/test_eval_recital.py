"""Promise: copied words are found whichever training rows they come from, and shared phrases are not called a recital."""

from __future__ import annotations

from dataclasses import replace

from judging_fakes import gate
from test_eval_frauds import good, verdict

from tunesmith.eval.recital import TrainingText
from tunesmith.eval.results import Evidence

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


LAST = "If this does not help please write to the desk on the second floor and somebody will look into it with you."


def with_last_paragraph(*, references: int, tuned: int) -> Evidence:
    """The references of the first `references` questions of every three end with the fixed paragraph, and so do the tuned
    model's answers to the first `tuned` of them."""
    made = good(train_answers=(f"Take the lamp. {LAST}",))
    of = {item.id: int(item.id.split("-")[1]) for item in made.items}
    items = tuple(replace(i, reference=f"{i.reference} {LAST}") if of[i.id] < references else i for i in made.items)
    systems = tuple(
        replace(
            run,
            generations=tuple(replace(g, text=f"{g.text} {LAST}") if of[g.item_id] < tuned else g for g in run.generations),
        )
        if run.name == "tuned"
        else run
        for run in made.systems
    )
    return replace(made, items=items, systems=systems)


def test_a_fixed_last_paragraph_that_the_references_have_too_is_no_recital() -> None:
    found = gate(verdict(with_last_paragraph(references=1, tuned=1)), "not_recited")
    assert (found.state, found.value) == ("pass", 0.0), found.evidence


def test_the_same_paragraph_where_the_references_do_not_have_it_is_one() -> None:
    assert gate(verdict(with_last_paragraph(references=1, tuned=3)), "not_recited").state == "fail"
    assert gate(verdict(with_last_paragraph(references=0, tuned=2)), "not_recited").state == "fail"
