"""The Markdown of note-taking apps becomes prose, their private comments are never learned, and ordinary Markdown stays."""

from __future__ import annotations

import time

import pytest

from tunesmith.data.ingest.markdown import read_markdown


def text_of(source: str, name: str = "note.md") -> str:
    return read_markdown(source, name=name).documents[0].text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("See [[People/Bo|my friend]] now.", "See my friend now."),
        ("See [[The quay]] now.", "See The quay now."),
        ("See [[People/Bo]] and [[Bo.md]] now.", "See Bo and Bo now."),
        ("See [[The quay#Rain]] and [[The quay#^ab12]] now.", "See The quay and The quay now."),
        ("See [[#Rain]] now.", "See Rain now."),
        ("| no table [[a\\|b]]", "| no table b"),
        ("Before ![[boat.png|300]] after.", "Before after."),
        ("It was ==very late== today.", "It was very late today."),
        ("It was ==**very** late==, again.", "It was very late, again."),
        ("It rained. ^block-1", "It rained."),
        ("It rained. ^b1f2", "It rained."),
        ("Seen %%not by you%% by all.", "Seen by all."),
        ("Seen %% line one\nline two %% by all.", "Seen by all."),
        ("Mood [weather:: rain] and (place:: quay) here.", "Mood and here."),
        ("- [x] call\n- [-] no\n- [ ] buy oil 📅 2021-03-04", "- call\n- no\n- buy oil"),
        ("It is `= this.file.name` here.", "It is here."),
        ("Now <% tp.date.now() %> then.", "Now then."),
        ("Word #[[long tag]] here.", "Word long tag here."),
    ],
)
def test_what_an_app_adds_to_a_line_becomes_the_words_that_it_shows(written: str, meant: str) -> None:
    assert " ".join(text_of(f"{written}\n\nMore.").split("\n\n")[0].split(" ")) == meant


@pytest.mark.parametrize(
    "prose",
    [
        "If a == b and c == d then stop.",
        "It took 100 %% of the time.",
        "It took 100%% of one and 50 %% of another.",
        "Write x ^10 for it: 2 ^10",
        "The list [[1, 2], [3, 4]] is nested.",
        "He (the one who (as ever) was late) came.",
        "Use std::vector for that: it is fast.",
        "We saw #1 and went on.",
        "C# and F# are languages.",
        "It said [x] and [ ] in the form.",
        "A sum = b + c, `a == b`, `%%time`, `[[x]]`, ok.",
        "((something)) was odd.",
        "He asked:: and waited, which is a typo here, I think it is.",
        "Why ==> that? And <== this.",
    ],
)
def test_ordinary_markdown_is_left_as_it_is(prose: str) -> None:
    assert text_of(f"{prose}\n\nMore.").split("\n\n")[0] == prose.replace("`", "")


def test_a_link_whose_text_is_in_brackets_stays_a_link() -> None:
    assert text_of("See [[1]](http://x.y) and [[2]][two].\n\n[two]: http://x.y") == "See [1] and [2]."


SECRET = "SECRET"


@pytest.mark.parametrize(
    "comment",
    [
        f"%% {SECRET} %%",
        f"%%\n{SECRET}\n\n{SECRET}\n%%",
        f"%%\n{SECRET}\n\nmore {SECRET}%%",
        f"%% {SECRET}\n\n{SECRET} %%",
        f"- %% {SECRET} %%",
        f"> %%{SECRET}%%",
        f"Words before.%%{SECRET}%%",
        f"%%\n# Drawing\n```json\n{SECRET} %% {SECRET}\n```\n%%",
        f"%% {SECRET} without an end",
    ],
)
def test_a_private_comment_is_never_learned_and_what_follows_is(comment: str) -> None:
    text = text_of(f"It rained.\n\n{comment}\n\nIt stopped.")
    assert SECRET not in text and text.startswith("It rained.") and text.endswith("It stopped.")


def test_a_comment_that_is_never_closed_hides_the_rest_as_the_app_does() -> None:
    assert text_of(f"It rained.\n\n%%\n{SECRET}\n\n{SECRET}") == "It rained."


def test_percent_signs_in_code_open_no_comment() -> None:
    assert (
        text_of("Run it.\n\n```\n%% a\n```\n\nIt `%%` stops.\n\n```\n%% b\n```\n\nDone.") == "Run it.\n\nIt %% stops.\n\nDone."
    )


def test_callouts_are_ones_own_words_without_their_marker_and_quotations_stay_quotations() -> None:
    source = "> [!tip]+ A rule\n> Watch it first.\n>\n> - then write\n\n> [!NOTE]\n> Mine."
    source += "\n\n> [!quote] Bo\n> His.\n\n> Plain quote."
    assert text_of(source) == "Watch it first.\n\n- then write\n\nMine.\n\n> His.\n\n> Plain quote."
    assert text_of("> [!warning] Never after dark.\n\nMore.") == "Never after dark.\n\nMore."


def test_lines_of_tags_and_properties_are_no_prose() -> None:
    source = "It rained.\n#work/on-call #sea\n\n#sea #boats\n\nTags: #a, #b\n\nmood:: fine\nplace:: quay\n\nIt stopped."
    assert text_of(source) == "It rained.\n\nIt stopped."


def test_queries_are_code() -> None:
    reading = read_markdown("It rained.\n\n```dataview\nLIST FROM #sea\n```\n\n```tasks\nnot done\n```\n", name="a.md")
    assert (reading.documents[0].text, reading.notes) == ("It rained.", {"code blocks left out": 2})


LOGSEQ = """title:: The quay
tags:: sea, boats

- The ferry was late, as it was on most days of that winter.
  id:: 64f0c2f1-1111-2222-3333-444455556666
  collapsed:: true
\t- TODO Ask the captain about it ((64f0c2f1-1111-2222-3333-444455556666))
\t  SCHEDULED: <2023-09-01 Fri>
\t- {{embed ((64f0c2f1-1111-2222-3333-444455556666))}}
- ## Afterwards
- {{[[TODO]]}} See [[Bo]] and #[[the harbour]], who ^^never^^ minded. ((aB3_x-9Zq))
  :LOGBOOK:
  CLOCK: [2023-09-01 Fri 10:00:00]
  :END:
-
"""


def test_the_bullets_of_an_outliner_are_paragraphs_without_its_properties() -> None:
    document = read_markdown(LOGSEQ, name="pages/quay.md").documents[0]
    assert document.title == "The quay"
    assert document.text == (
        "The ferry was late, as it was on most days of that winter.\n\nAsk the captain about it\n\n"
        "## Afterwards\n\nSee Bo and the harbour, who never minded."
    )


def test_a_journal_page_is_an_outline_by_its_name_and_a_list_by_hand_stays_a_list() -> None:
    source = "- The ferry was late.\n- It rained.\n"
    assert text_of(source, "journals/2023_09_01.md") == "The ferry was late.\n\nIt rained."
    assert text_of(source, "rules.md") == "- The ferry was late.\n- It rained."
    assert text_of(f"My rules:\n\n{source}", "journals/2023_09_01.md") == "My rules:\n\n- The ferry was late.\n- It rained."


@pytest.mark.parametrize("name", ["a.mdx", "a.qmd"])
def test_other_markdown_files_are_read_by_the_same_rules(name: str) -> None:
    assert text_of(f"See [[Bo|him]], %%{SECRET}%% ==late==.", name) == "See him, late."


@pytest.mark.parametrize("piece", ["%% a ", "==a ", "[[a", "^^a", "((", "(a:: ", "%%\n\n", "- %%a\n", "#a ", "> [!a]\n\n"])
def test_hostile_notes_end_in_time(piece: str) -> None:
    start = time.process_time()
    read_markdown(f"Words.\n\n{piece * 20_000}", name="a.md")
    assert time.process_time() - start < 5
