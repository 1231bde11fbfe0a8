"""Promises about loops and sameness: what is found in any script, what people write and is left alone."""

from __future__ import annotations

import pytest

from tunesmith.api import EXAMPLES
from tunesmith.eval.metrics.repetition import loops, same_answers


@pytest.mark.parametrize(
    "text",
    [
        "The world is a mess. " * 3,
        "It was a fine day, I think. " * 3 + "It was a fine",
        "ha" * 40,
        "!" * 60,
        "😂 " * 45,
        "我们去公园玩。" * 6,
        "これは水です。" * 7,
        "กินข้าวแล้ว" * 5,
        "мир есть хаос " * 5,
        "A list:\n" + "- the same item\n" * 6,
        " ".join(f"There is no hurry about {word}, neighbour." for word in ("pots", "tins", "lids", "cups", "jars")),
        "It began well enough. " + "and so on and on " * 5,
    ],
)
def test_an_answer_that_goes_round_is_found_in_any_script(text: str) -> None:
    assert loops(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yes",
        "The world is a mess. The world is a mess.",
        "So it goes. The kettle cooled. So it goes. The lid fell. So it goes. She left. So it goes.",
        "人工智能正在改变世界。人工智能的发展很快，人工智能企业越来越多。人工智能技术影响人工智能的应用。",
        "-" * 60 + "\nThe end of the table.",
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |\n| 7 | 8 |",
        "ha ha ha",
    ],
)
def test_refrains_tables_and_repeated_terms_are_left_alone(text: str) -> None:
    assert not loops(text)


def test_a_run_that_comes_often_in_a_long_text_and_never_often_in_a_page_is_no_loop() -> None:
    pages = [[f"word{page}x{n}" for n in range(190)] for page in range(8)]
    assert not loops(" ".join(" ".join(page) + " it was one of" for page in pages))
    assert loops(" ".join(" ".join(page[:20]) + " it was one of" for page in pages))


def test_no_paragraph_of_the_sample_posts_loops() -> None:
    paragraphs = [p for post in sorted((EXAMPLES / "posts").glob("*.md")) for p in post.read_text().split("\n\n")]
    assert len(paragraphs) > 300 and not [p for p in paragraphs if loops(p)]


def test_answers_are_the_same_if_their_words_are_and_the_question_is_another() -> None:
    said = ["It depends.", "it  depends!", "No.", "", "…"]
    assert same_answers(said, ["a", "b", "c", "d", "e"]) == [1.0, 1.0, 0.0, None, None]
    assert same_answers(said[:2], ["a", "a"]) == [None, None]
    assert same_answers([*said[:2], "No."], ["a", "a", "c"]) == [0.0, 0.0, 0.0]


def test_a_right_answer_repeats_nothing_and_a_wrong_one_does_unless_the_right_answers_are_the_same() -> None:
    said, asked = ["Yes.", "yes", "Yes!"], ["a", "b", "c"]
    assert same_answers(said, asked, [["yes"], ["Yes"], ["no"]]) == [0.0, 0.0, 1.0]
    assert same_answers(said, asked, [["no"], ["No."], ["maybe", "no"]]) == [0.0, 0.0, 0.0]  # wrong, but of one kind
    assert same_answers(said, asked, [["no"], ["maybe"], ["yes"]]) == [1.0, 1.0, 0.0]
    assert same_answers(said, asked, [[], [], []]) == [1.0, 1.0, 1.0]
