"""Whose words a data set holds is known and shown, and several authors without a choice stop the build with a question."""

from __future__ import annotations

import pytest
from lxml import html
from test_data_report import report

from tunesmith.core.errors import DatasetError
from tunesmith.core.records import Document
from tunesmith.data.dataset.origin_section import origin_facts
from tunesmith.data.dataset.voices import ask_for_one_voice, voices
from tunesmith.data.ingest.item import make_document


def post(name: str, author: str | None, words: int = 100, date: str | None = None) -> Document:
    return make_document(name=name, text="word " * words, extraction="test", author=author, date=date)


def test_the_share_of_each_author_is_by_words_and_spellings_that_differ_in_case_are_one() -> None:
    found = voices([post("a", "Ada Byron", 100), post("b", "ADA  byron", 50), post("c", "Bob", 30), post("d", None, 20)])
    assert [(v.name, v.documents, v.words) for v in found] == [("Ada Byron", 2, 150), ("Bob", 1, 30), (None, 1, 20)]
    assert [v.share for v in found] == [0.75, 0.15, 0.1]


def test_a_text_by_two_counts_half_for_each() -> None:
    assert {v.name: v.words for v in voices([post("a", "Ada, Bob", 100)])} == {"Ada": 50, "Bob": 50}


def test_several_authors_without_a_choice_stop_the_build_and_the_line_to_type_is_given() -> None:
    found = voices([post("a", "Ada", 60), post("b", "Bob", 40)])
    with pytest.raises(DatasetError) as raised:
        ask_for_one_voice(found, chosen=())
    assert "Ada 60%, Bob 40%" in str(raised.value) and """--set 'authors=["Ada"]'""" in str(raised.value)
    ask_for_one_voice(found, chosen=["*"])
    ask_for_one_voice(found, chosen=["Ada"])


@pytest.mark.parametrize(
    "documents",
    [
        [post("a", "Ada"), post("b", None)],
        [post("a", None), post("b", None)],
        [post("a", "Ada", 970), post("b", "Guest", 30)],
        [],
    ],
    ids=["one and nobody", "nobody", "a guest of three per cent", "nothing"],
)
def test_one_voice_is_not_asked_about(documents: list[Document]) -> None:
    ask_for_one_voice(voices(documents), chosen=())


def test_the_page_shows_what_was_left_out_and_why_before_anything_else_and_whose_words_are_there() -> None:
    facts = origin_facts([post("a", "Ada", date="2019-02-01"), post("b", "Ada", date="2021-02-01"), post("c", None)])
    data, page = report(documents=3, origin=facts, notes=("5 drafts left out", "2 hidden files skipped"))
    assert data["documents"]["years"] == {"2019": 1, "2021": 1} and data["documents"]["dates"]["not stated"] == 1
    flow = html.fromstring(page).find_class("flow")[0]
    assert [" ".join(step.text_content().split()) for step in flow] == [
        "left out5 on purpose5 drafts",
        "taken3 documents",
        "dropped3 passages3 passage too short",
        "rows16 to learn and to test10 train2 val4 test",
    ]
    text = html.fromstring(page).text_content()
    assert "Ada" in text and "1 documents state none" in text and text.index("left out") < text.index("As the model sees it")
