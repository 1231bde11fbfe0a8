"""Passages are the author's own words, cut only at sentence ends, each under a question of its own."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_material import document, example, ingest, material

from tunesmith.core.records import Example, Message
from tunesmith.data.dataset.cuts import Drops, cut_document
from tunesmith.data.dataset.passages import Built, build_examples, build_passages
from tunesmith.data.text.prose import blocks_from_text, text_from_blocks
from tunesmith.data.text.sentences import split_sentences
from tunesmith.data.text.words import num_words

PARAGRAPH = (
    "The kettle boiled over again this morning. I looked at the small steam hole and found it shut. "
    "Nobody had cleaned it since spring."
)


def build(*texts: str, words: int = 40, least: int = 5) -> Built[Example]:
    documents = [document(text, name=f"{n}.md", title=f"Post {n}") for n, text in enumerate(texts)]
    return build_passages(documents, passage_words=words, min_words=least, system_prompt="")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Mr. Hall met Dr. Weir at 3.15 p.m. on Jan. 4.", ["Mr. Hall met Dr. Weir at 3.15 p.m. on Jan. 4."]),
        ("It cost 3.5 million. So what?", ["It cost 3.5 million.", "So what?"]),
        ("J. R. Smith wrote it, e.g. in May. Then he left.", ["J. R. Smith wrote it, e.g. in May.", "Then he left."]),
        ("“Stop.” He stopped. (He had to.) Then…", ["“Stop.”", "He stopped.", "(He had to.)", "Then…"]),
        ("“Stop!” he said. See openbb.co for more.", ["“Stop!” he said.", "See openbb.co for more."]),
        (
            "Tea, coffee, etc. The rest was gone. So am I. You too.",
            ["Tea, coffee, etc.", "The rest was gone.", "So am I.", "You too."],
        ),
        ("no end", ["no end"]),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.text())
def test_splitting_into_sentences_loses_nothing_but_blanks(text: str) -> None:
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


def test_blocks_give_the_text_back() -> None:
    text = "# A\n\nPara one.\n\n- x\n- y\n\n> said\n\n1. a\n2. b"
    blocks = blocks_from_text(text)
    assert [block.kind for block in blocks] == ["heading", "paragraph", "list", "quote", "list"]
    assert text_from_blocks(blocks) == text


def test_answers_are_verbatim_and_never_hold_a_heading() -> None:
    text = (
        f"## First part\n\n{PARAGRAPH}\n\n- a list\n- of things\n\n## Second part\n\n{PARAGRAPH.replace('kettle', 'toaster')}"
    )
    built = build(text)
    assert len(built.examples) == 2
    for made in built.examples:
        assert made.answer in text and "##" not in made.answer


def test_a_long_paragraph_is_cut_at_sentence_ends_only() -> None:
    text = " ".join(f"Sentence number {n} says a little about the number {n} itself." for n in range(60))
    built = build(text)
    assert len(built.examples) > 8
    for made in built.examples:
        assert made.answer in text and made.answer.startswith("Sentence") and made.answer.endswith("itself.")
        assert num_words(made.answer) < 1.8 * 40


def test_a_short_rest_joins_the_passage_before_it() -> None:
    assert len(build(PARAGRAPH + " " + PARAGRAPH.replace("kettle", "pan") + "\n\nThat was all of it.").examples) == 1


def test_a_list_stays_with_the_line_that_leads_to_it() -> None:
    built = build(
        f"{PARAGRAPH} {PARAGRAPH.replace('kettle', 'stove')}\n\nThree things help:\n\n"
        + "\n".join(f"- thing number {n}" for n in range(9))
    )
    assert any("Three things help:\n\n- thing number 0" in made.answer for made in built.examples)


def test_paragraphs_are_never_cut_to_reach_the_target() -> None:
    paragraphs = [
        " ".join(f"Shed {n} holds {what} and little else." for what in ("rakes", "pots", "twine", "seed")) for n in range(8)
    ]
    built = build("\n\n".join(paragraphs), words=40)
    assert len(built.examples) >= 4
    for made in built.examples:
        assert all(part in paragraphs for part in made.answer.split("\n\n"))


def test_a_list_stays_whole_beyond_the_target() -> None:
    things = ["rakes", "pots", "twine", "seed", "gloves", "boots", "string", "sieves", "labels", "canes", "netting", "hooks"]
    items = "\n".join(f"- {thing} that were in the {n}th corner of it" for n, thing in enumerate(things))
    built = build(f"{PARAGRAPH}\n\nThe shed holds:\n\n{items}\n\n{PARAGRAPH.replace('kettle', 'oven')}", words=40)
    assert sum(items in made.answer for made in built.examples) == 1


def test_a_list_too_long_for_one_answer_says_that_it_goes_on() -> None:
    items = "\n".join(f"- item {n} of the long inventory of everything in the old shed" for n in range(40))
    built = build(f"{PARAGRAPH}\n\n## Inventory\n\n{items}", words=40)
    parts = [made for made in built.examples if "- item" in made.answer]
    assert len(parts) > 2
    assert all(made.prompt[-1].content.endswith("Leave the rest for later.") for made in parts[:-1])
    assert not parts[-1].prompt[-1].content.endswith("Leave the rest for later.")
    for before, after in itertools.pairwise(parts):  # and each part continues the one before it
        assert before.answer.split("\n")[-1].removeprefix("- ") in after.prompt[-1].content


POINTING = ("However, the kettle boiled over again.", "It boiled over again this morning.", "The second kettle never boiled.")


@pytest.mark.parametrize("opening", POINTING)
def test_an_opening_that_points_back_is_asked_for_as_a_continuation(opening: str) -> None:
    first = " ".join(f"Shed {n} holds rakes and pots and little else of any use." for n in range(6))
    rest = " ".join(f"Nobody cleaned lid {n} of it since the spring of that year." for n in range(6))
    made = build(f"{first}\n\n{opening} {rest}", words=40).examples
    leaning = [one for one in made if one.answer.startswith(opening)]
    assert len(leaning) == 1 and "Shed 5 holds rakes and pots and little else of any use." in leaning[0].prompt[-1].content


def test_what_points_back_at_something_left_out_is_dropped_and_counted() -> None:
    built = build(f"{PARAGRAPH}\n\nHere is the code:\n\nIt prints the {PARAGRAPH[4:]}", words=20)
    assert built.dropped["points back at something left out"] == 1
    assert not any(made.answer.startswith("It prints") for made in built.examples)


def test_a_lead_in_to_something_left_out_is_dropped_and_counted() -> None:
    built = build(f"{PARAGRAPH}\n\nHere is the code:")
    assert built.dropped == {"lead-in to something left out": 1} and built.examples[0].answer == PARAGRAPH
    assert built.dropped_samples == {"lead-in to something left out": ("Here is the code:",)}


def test_a_lead_in_to_what_somebody_says_stays() -> None:
    text = f"{PARAGRAPH} Then she said:\n\n“Somebody must have closed the steam hole.”"
    assert build(text).examples[0].answer == text


def test_an_enumeration_that_never_comes_is_dropped() -> None:
    built = build(f"## Why\n\n{PARAGRAPH} A clean lid has several distinct advantages.\n\n## Lid\n\n{PARAGRAPH[4:]}")
    assert built.dropped == {"lead-in to something left out": 1} and built.examples[0].answer == PARAGRAPH
    assert built.dropped_words == {"lead-in to something left out": 7}


@pytest.mark.parametrize("missing", ["drop", "keep"])
def test_what_points_at_code_or_pictures_that_are_not_there_is_left_out_or_kept_by_choice(
    missing: Literal["drop", "keep"],
) -> None:
    text = f"The code below counts the holes.\n\n{PARAGRAPH[4:]}"
    built = build_passages([document(text)], passage_words=40, min_words=5, system_prompt="", missing=missing)
    reason = "points at code, a table or a picture that is not there"
    assert built.dropped == ({reason: 1} if missing == "drop" else {})
    assert ["code below" in made.answer for made in built.examples] == [missing == "keep"]


def test_only_the_sentences_that_point_at_what_is_missing_go_with_what_leans_on_them() -> None:
    ending = f"{PARAGRAPH} As shown below, the lid has holes. Nobody knew why."
    built = build(f"{ending}\n\nIt had three. {PARAGRAPH}\n\n{PARAGRAPH.replace('kettle', 'stove')}", words=20)
    assert [made.answer for made in built.examples] == [PARAGRAPH, PARAGRAPH.replace("kettle", "stove")]
    assert built.dropped == {
        "points at code, a table or a picture that is not there": 1,
        "points back at something left out": 1,
    }


def test_a_heading_without_marks_begins_what_follows_and_never_ends_a_passage() -> None:
    stove = PARAGRAPH.replace("kettle", "stove")
    built = build(f"{PARAGRAPH}\n\nClean the lid\n\n{stove}", words=25)
    assert [made.answer for made in built.examples] == [PARAGRAPH, f"Clean the lid\n\n{stove}"]
    assert build(f"{PARAGRAPH}\n\nClean the lid").examples[0].answer == PARAGRAPH


@pytest.mark.parametrize(
    "end",
    [
        "[1] Or so I was told.",
        "Thanks to Ada for reading drafts of this.",
        "Cheers,\nAda",
        "Read more about kettles.",
        "Share this!",
    ],
)
def test_footnotes_thanks_sign_offs_and_navigation_are_left_out_and_counted(end: str) -> None:
    built = build(f"{PARAGRAPH}\n\n{end}")
    assert [made.answer for made in built.examples] == [PARAGRAPH]
    assert built.dropped == {"footnote, thanks, sign-off or navigation": 1}


def test_a_last_sentence_that_takes_leave_is_cut_off() -> None:
    built = build(f"{PARAGRAPH} Thanks for reading!")
    assert [made.answer for made in built.examples] == [PARAGRAPH]


def test_a_section_of_links_is_left_out() -> None:
    built = build(f"{PARAGRAPH}\n\n## Further reading\n\n- The Book of Kettles by some writer or other, second edition")
    assert [made.answer for made in built.examples] == [PARAGRAPH]


@pytest.mark.parametrize("anchor", [" {#steam}", " ¶", " #", " {: .title }"])
def test_anchors_of_headings_are_not_in_questions(anchor: str) -> None:
    text = "\n\n".join(f"## Steam {n}{anchor}\n\n{PARAGRAPH.replace('kettle', f'kettle {n}')}" for n in range(12))
    asked = [made.prompt[-1].content for made in build(text).examples]
    assert len(asked) == 12 and any("“Steam " in question for question in asked)
    assert not any(sign in question for question in asked for sign in ("{", "¶", "Steam #", " #”"))


def test_what_is_dropped_is_counted_by_reason() -> None:
    links = "\n".join(f"- https://x.org/{n}" for n in range(20))
    built = build(
        PARAGRAPH,
        PARAGRAPH,
        "Too short.",
        f"## A\n\nTiny.\n\n## B\n\n{PARAGRAPH} Indeed.",
        "> Somebody else said this at some length.",
        links,
    )
    assert built.dropped == {
        "exact copy of another passage": 1,
        "document too short": 1,
        "passage too short": 1,
        "more than a third is quoted text": 1,
        "mostly addresses, figures or repetitions": 1,
    }
    assert all(1 <= len(samples) <= 3 for samples in built.dropped_samples.values())


OWN = "I read this twice before I agreed with any of it, and then I put the kettle on and wrote my answer down."
OTHERS = "> Somebody else said this at some length, and went on to say more of the same until nobody was left to hear it."


@pytest.mark.parametrize(("own", "kept"), [(1, False), (3, True)])
def test_a_passage_that_is_mostly_other_peoples_words_is_left_out(own: int, kept: bool) -> None:
    built = build("\n\n".join([OWN, OTHERS, *[OWN.replace("kettle", f"kettle {n}") for n in range(1, own)]]), words=300)
    assert [OTHERS in made.answer for made in built.examples] == [True] * kept
    assert built.dropped == ({} if kept else {"more than a third is quoted text": 1})


def test_ids_stay_when_documents_are_added() -> None:
    before = {made.id for made in build(PARAGRAPH).examples}
    assert before <= {made.id for made in build(PARAGRAPH, PARAGRAPH.replace("kettle", "clock")).examples}


def test_examples_lead_back_to_their_document_and_carry_the_system_prompt() -> None:
    made = build_passages([document(PARAGRAPH)], passage_words=40, min_words=5, system_prompt="You are Ada.").examples[0]
    assert [message.role for message in made.messages] == ["system", "user", "assistant"]
    assert made.group == made.document_id == document(PARAGRAPH).id and made.title == "A post"


def test_no_two_passages_have_the_same_question_even_without_title_or_phrases() -> None:
    documents = [document(f"It is so, and it was so {n} times before that.", name=f"{n}.md", title=None) for n in range(30)]
    built = build_passages(documents, passage_words=40, min_words=5, system_prompt="")
    prompts = [made.prompt[-1].content for made in built.examples]
    assert len(set(prompts)) == len(prompts) == 30


@pytest.mark.parametrize("folder", ["writing/didier", "writing/mtlynch/posts"])
def test_real_writing_gives_balanced_unique_and_verbatim_examples(folder: str) -> None:
    documents = ingest(material(folder)).documents
    built = build_passages(documents, passage_words=90, min_words=15, system_prompt="")
    by_id = {document.id: document.text for document in documents}
    assert (
        len({made.prompt[-1].content for made in built.examples})
        == len(built.examples)
        == len({made.id for made in built.examples})
    )
    for made in built.examples:
        assert made.answer in by_id[made.document_id]
        assert num_words(made.answer) >= 15
    shares = Counter(_wording(made.prompt[-1].content) for made in built.examples)
    assert len(shares) >= 10 and max(shares.values()) <= 0.15 * len(built.examples)


def _wording(question: str) -> str:
    """A question without what was filled in: its first words, or the words after the closing quotation mark."""
    head, quote, rest = question.partition("“")
    if quote and not head:
        return "… " + " ".join(rest.rpartition("”")[2].split()[:4])
    return " ".join(head.split()[:5]) + ("“" if quote else "")


def test_pairs_pass_through_with_a_system_message_where_none_is() -> None:
    built = build_examples([example("a?", "A", id="1"), example("b?", "B", id="2")], system_prompt="Be brief.")
    assert [made.id for made in built.examples] == ["1", "2"] and not built.dropped
    assert built.examples[0].messages[0] == Message(role="system", content="Be brief.")


def test_empty_and_repeated_pairs_are_dropped_and_counted() -> None:
    pairs = [
        example("a?", "A", id="1"),
        example("a?", "A", id="2"),
        example(" ", "B", id="3"),
        example("c?", "", id="4"),
        example("a?", "B", id="5"),
    ]
    built = build_examples(pairs, system_prompt="")
    assert [made.id for made in built.examples] == ["1", "5"]
    assert built.dropped == {"exact copy of another pair": 1, "empty prompt": 1, "empty answer": 1}


def test_a_question_that_ends_a_long_paragraph_stays_with_its_answer() -> None:
    def paragraph(count: int, end: str) -> str:
        return " ".join(["The kettle sang over the small blue fire again."] * count) + " " + end

    parts = [paragraph(5, "It was cold."), paragraph(7, "So how do we keep it warm?"), paragraph(5, "We shut the lid.")]
    made = cut_document(document("\n\n".join(parts)), target=90, min_words=15, missing="drop", drops=Drops())
    assert [passage.text.rsplit(". ", 1)[-1] for passage in made] == ["It was cold.", "We shut the lid."]
