"""What stands above a text is metadata and never prose, and the author's own marks say what is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.core.records import Document
from tunesmith.data.ingest.front_matter import has_front_matter, read_front_matter
from tunesmith.data.ingest.markdown import read_markdown, read_text
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.text.decode import UnreadableError

BODY = "The ferry was late, and nobody on the quay minded."


def read(head: str, name: str = "ferry.md") -> Document:
    return read_markdown(f"{head}\n{BODY}\n", name=name).documents[0]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("status: Draft", "draft"),
        ("Status: PENDING review", "draft"),
        ("status: [in-progress]", "draft"),
        ("draft: yes", "draft"),
        ("Draft: 'TRUE'", "draft"),
        ("publish: false", "draft"),
        ("published: no", "draft"),
        ("dg-publish: false", "draft"),
        ("permalink: false", "draft"),
        ("status: entwurf", "draft"),
        ("status: withdrawn", "draft"),
        ("stage: draft", "draft"),
        ("ready: false", "draft"),
        ("private: true", "private"),
        ("hidden: true", "private"),
        ("unlisted: true", "private"),
        ("visibility: members", "private"),
        ("visibility: Unlisted", "private"),
        ("eleventyExcludeFromCollections: true", "private"),
        ("_build: {list: never}", "private"),
        ("public: false", "private"),
        ("status: archived", "private"),
        ("expiryDate: 2021-03-04", "private"),
        ("unpublishdate: 2021-03-04T10:00:00Z", "private"),
        ("expiryDate: 9999-01-01", "published"),
        ("expiryDate: soon", "published"),
        ("expiryDate: 2021-03-04\ndraft: true", "draft"),
        ("archived: 2021", "published"),
        ("status: future", "scheduled"),
        ("status: trash", "deleted"),
        ("password: open sesame", "protected"),
        ("password: 1234", "protected"),
        ("draft: true\nstatus: private", "private"),
        ("draft: false", "published"),
        ("published: true", "published"),
        ("published: 2021-03-04", "published"),
        ("publish: yes", "published"),
        ("password: ''", "published"),
        ("password:", "published"),
        ("visibility: public", "published"),
        ("status: finished", "published"),
        ("hidden: false", "published"),
        ("permalink: /ferry/", "published"),
        ("tags: [draft, private]", "published"),
    ],
)
def test_every_word_for_what_is_not_published_is_heeded_in_any_case(line: str, status: str) -> None:
    found = read(f"---\ntitle: Ferry\n{line}\n---")
    assert (found.status, found.text) == (status, BODY)


@pytest.mark.parametrize(
    "head",
    [
        "---\ntitle: Ferry\nlang: en_GB\nauthor: Ada\ndate: 2021-03-04\nstatus: draft\n---",
        "+++\ntitle = 'Ferry'\nlang = 'en-GB'\nauthor = 'Ada'\ndate = 2021-03-04\ndraft = true\n+++",
        '{\n  "title": "Ferry",\n  "lang": "en-GB", "author": "Ada",\n  "date": "2021-03-04", "draft": true\n}\n',
        '---json\n{"title": "Ferry", "lang": "en-GB", "author": "Ada", "date": "2021-03-04", "draft": true}\n---',
        "Title: Ferry\nLang: en-GB\nAuthor: Ada\nDate: 2021-03-04\nStatus: draft\nTags: sea,\n  boats\n",
        "\nTitle:   Ferry\nLang: en-GB\nAuthor: Ada\nDate: 4 March 2021\nMy key: x\nStatus: DRAFT\n",
        "title:: Ferry\nlang:: en-GB\nauthor:: Ada\ndate:: 2021-03-04\nstatus:: draft\n",
        "- title:: Ferry\n  lang:: en-GB\n  author:: Ada\n  date:: 2021-03-04\n  draft:: true",
    ],
)
def test_all_styles_of_metadata_say_the_same_and_are_no_prose(head: str) -> None:
    found = read(head)
    assert (found.title, found.language, found.author, found.date) == ("Ferry", "en-GB", "Ada", "2021-03-04")
    assert (found.status, found.date_origin, found.text) == ("draft", "metadata", BODY)


def test_head_lines_of_which_most_are_known_are_metadata_with_values_over_several_lines() -> None:
    found = read("public: no\nsummary: |\n  It was late.\n  Again.\n", "ferry.txt")
    assert (found.status, found.text) == ("private", BODY)


def test_properties_below_the_title_as_notion_writes_them_are_metadata() -> None:
    found = read("# Ferry\n\nCreated: March 4, 2021 9:00 AM\nStatus: Draft\nTags: sea, boats\n", "Ferry 15f0.md")
    assert (found.title, found.status, found.date, found.text) == ("Ferry", "draft", "2021-03-04", BODY)
    kept = read("# Ferry\n\nAda: is it late?\nBo: it is.\n")
    assert kept.text == f"Ada: is it late? Bo: it is.\n\n{BODY}"


@pytest.mark.parametrize(
    "prose",
    [
        "Note: the ferry was late.",
        "Ada: is it late?\nBo: it is.",
        "Summary: nobody minded.",
        "The title: a ferry. The date: unknown.",
        "Ingredients: leeks\nTitle: soup\nMethod: boil",
        '{ferry} was late\nand "late" it stayed.',
        "Status: it was fine.",
        "Ferry: late\nTitle: none\nand then a line of prose.",
    ],
)
def test_prose_that_only_resembles_metadata_stays_prose(prose: str) -> None:
    document = read_text(f"{prose}\n\n{BODY}", name="a.txt").documents[0]
    assert " ".join(document.text.split()) == " ".join(f"{prose} {BODY}".split())
    assert document.status == "published"


def test_head_lines_of_plain_text_are_metadata_too() -> None:
    document = read_text(f"Title: Ferry\nStatus: hidden\n\n{BODY}", name="a.txt").documents[0]
    assert (document.title, document.status, document.text) == ("Ferry", "private", BODY)


def test_a_date_in_the_name_says_that_it_comes_from_the_name() -> None:
    for name in ("2021-03-04-ferry.md", "journals/2021_03_04.md", "2021.03.04 ferry.md", "2021/3/04/ferry.md"):
        assert (read("", name).date, read("", name).date_origin) == ("2021-03-04", "name")
    assert (read("", "2021-13-44-ferry.md").date, read("", "v1_20.md").date_origin) == (None, None)


def test_a_text_that_becomes_public_later_than_it_was_written_is_scheduled() -> None:
    found = read("---\ndate: 2021-03-04\npublishDate: 2999-01-01\n---")
    assert found.date == "2999-01-01"
    assert Policy(today="2026-01-01").why_not(found)


def test_the_front_matter_of_an_html_post_can_be_read_and_taken_off() -> None:
    page = "---\nlayout: post\ntitle: Ferry\npublished: false\n---\n<p>It was late.</p>\n"
    metadata, body = read_front_matter(page, "ferry.html")
    assert (metadata.title, metadata.status, body) == ("Ferry", "draft", "<p>It was late.</p>\n")
    assert has_front_matter(page) and not has_front_matter("<p>It was late.</p>\n---\n")


def test_front_matter_that_is_nested_too_deeply_or_broken_is_named() -> None:
    with pytest.raises(UnreadableError, match="not valid JSON"):
        read_front_matter("---json\n{title: x}\n---\nWords.", "a.md")
    with pytest.raises(UnreadableError, match="nested deeper than 50"):
        read_front_matter("---\na: " + "[" * 60 + "]" * 60 + "\n---\nWords.", "a.md")
    assert read_front_matter('{"a":' * 50_000, "a.md")[1].startswith('{"a"')


def test_a_page_below_front_matter_is_a_post_and_its_state_counts(tmp_path: Path) -> None:
    from tunesmith.core.reporter import SilentReporter
    from tunesmith.data.ingest.extract import extract
    from tunesmith.data.ingest.gather import gather

    head = "---\ntitle: Rain\ndate: 2020-02-02\n"
    (tmp_path / "a.html").write_text(f"{head}---\n<p>It rained all morning in the harbour.</p>\n")
    (tmp_path / "b.html").write_bytes(f"{head}draft: true\n---\n<p>Not ready at all.</p>\n".replace("\n", "\r\n").encode())
    found = extract(gather([str(tmp_path)]), reporter=SilentReporter())
    assert [(one.title, one.date, one.text) for one in found.documents] == [
        ("Rain", "2020-02-02", "It rained all morning in the harbour.")
    ]
    assert found.notes == ("1 drafts left out",)
