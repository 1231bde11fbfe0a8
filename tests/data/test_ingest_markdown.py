"""Markdown, MDX and plain text become clean prose with what the front matter says."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_material import ingest, material

from tunesmith.core.records import Document
from tunesmith.data.ingest import markdown_rules, markup
from tunesmith.data.ingest.markdown import read_markdown, read_text
from tunesmith.data.ingest.markup import tag_end, without_braces
from tunesmith.data.ingest.metadata import iso_date, title_from_name
from tunesmith.data.text.decode import UnreadableError


def read(text: str, name: str = "post.md") -> Document:
    return read_markdown(text, name=name).documents[0]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2023-04-11", "2023-04-11"),
        ("2023-04-11T09:30:00+02:00", "2023-04-11"),
        ("2023-04-11 09:30:00 +0200", "2023-04-11"),
        ("11 April 2023", "2023-04-11"),
        ("April 11, 2023", "2023-04-11"),
        ("Tue, 11 Apr 2023 08:00:00 GMT", "2023-04-11"),
        ("25/12/2023", "2023-12-25"),
        ("03/04/2023", None),
        ("April 2023", None),
        ("2023-13-45", None),
        ("soon", None),
    ],
)
def test_dates_in_many_styles_become_iso_dates(written: str, meant: str | None) -> None:
    assert iso_date(written) == meant
    if meant:
        assert read(f"---\ndate: {written}\n---\nSome words.").date == meant


def test_front_matter_gives_title_authors_and_address() -> None:
    found = read("---\ntitle: 'Rain, again'\nauthors: [{name: Ada}, Bo]\nslug: /rain\nlicense: CC BY 4.0\n---\nIt rained.")
    assert (found.title, found.author, found.url, found.license) == ("Rain, again", "Ada, Bo", "/rain", "CC BY 4.0")


def test_toml_front_matter_is_read() -> None:
    found = read("+++\ntitle = 'Rain'\ndate = 2023-04-11\n+++\nIt rained.")
    assert (found.title, found.date, found.text) == ("Rain", "2023-04-11", "It rained.")


def test_the_file_name_gives_date_and_title_where_the_front_matter_does_not() -> None:
    found = read("It rained.", "blog/2023-04-11-rain-again.md")
    assert (found.date, found.title) == ("2023-04-11", "Rain again")
    assert title_from_name("a-year-alone/index.md") == "A year alone"


def test_a_draft_is_skipped_and_counted() -> None:
    reading = read_markdown("---\ndraft: true\n---\nNot yet.", name="a.md")
    assert [document.status for document in reading.documents] == ["draft"]


def test_front_matter_that_does_not_parse_says_where() -> None:
    with pytest.raises(UnreadableError, match="front matter is not valid YAML at line 3"):
        read_markdown("---\ntitle: a\nb: c: d\n---\nWords.", name="a.md")


def test_a_file_without_prose_is_unreadable() -> None:
    with pytest.raises(UnreadableError, match="it is empty"):
        read_markdown("---\ntitle: a\n---\n\n", name="a.md")
    with pytest.raises(UnreadableError, match="no prose"):
        read_markdown("```\ncode\n```", name="a.md")


def test_structure_becomes_plain_blocks() -> None:
    text = read(
        "# The title\n\nOne *two* **three** [four](http://x.y) `five`.\n\n"
        "## Part\n\n- a\n- b\n  - c\n\n3. x\n4. y\n\n> said so\n\nLine\nwrapped.\n"
    ).text
    assert text == "One two three four five.\n\n## Part\n\n- a\n- b\n- c\n\n3. x\n4. y\n\n> said so\n\nLine wrapped."


def test_code_tables_and_images_are_left_out_and_counted() -> None:
    reading = read_markdown(
        "Before.\n\n```py\ncode\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "![alt](x.png)\n\nAfter ![i](data:image/png;base64,AAAA) that.",
        name="a.md",
    )
    assert reading.documents[0].text == "Before.\n\nAfter that."
    assert reading.notes == {"code blocks left out": 1, "tables left out": 1}


@pytest.mark.parametrize(
    "residue",
    [
        "import Tabs from '@theme/Tabs';",
        "export const x = () => {\n  return 1;\n};",
        "<Tabs defaultValue='a' values={[{label: 'A > B'}]} />",
        "<div style={{borderTop: '1px solid #08C', margin: '1em 0'}} />",
        "<!-- truncate -->",
        "{/* a comment */}",
        '{{< figure src="x.png" caption="a > b" >}}',
        "{{% notice %}}",
        "{% include x.html %}",
        "{% highlight ruby %}\nputs 1\n\nputs 2\n{% endhighlight %}",
        "{{ page.title }}",
        ":::note Heads up",
        "[^1]: A footnote.",
        "<script>\nvar a = '<p>';\n</script>",
        "<table><tr><td>cell</td></tr></table>",
        "<iframe src='x'></iframe>",
        "{: .center}",
    ],
)
def test_what_a_reader_never_sees_is_gone(residue: str) -> None:
    assert read(f"Before.\n\n{residue}\n\nAfter.").text == "Before.\n\nAfter."


def test_inline_components_templates_and_footnote_marks_are_gone() -> None:
    found = read('A <Badge text={"x > y"}>new</Badge> word{{< ref "b" >}}, noted[^1] &amp; kept. Code `{{ x }}` stays.')
    assert found.text == "A new word, noted & kept. Code {{ x }} stays."


def test_prose_inside_components_and_html_is_kept() -> None:
    found = read('{{<notice type="info">}}\n\nMind the *gap*.\n\n{{</notice>}}\n\n<p align="center">Said <b>so</b>.</p>\n')
    assert found.text == "Mind the gap.\n\nSaid so."


def test_prose_that_begins_with_import_is_no_code() -> None:
    assert read("import taxes are what I pay, from year to year.").text.startswith("import taxes")


def test_u2028_ends_a_line_and_not_the_document() -> None:
    assert read("One\u2028two.\n\nThree.").text == "One\ntwo.\n\nThree."


def test_plain_text_keeps_paragraphs_and_joins_wrapped_lines() -> None:
    line = "a line that somebody wrapped by hand after about seventy characters"
    assert (
        read_text(f"{line}\n{line}\nend\n\nShort\nlines", name="a.txt").documents[0].text
        == f"{line} {line} end\n\nShort\nlines"
    )


@pytest.mark.parametrize("piece", ["word ", "[", "*a ", "`", "<a ", "![", "{{", "a" * 100 + " "])
def test_a_line_of_four_megabytes_does_not_hang(piece: str) -> None:
    start = time.process_time()
    found = read("Before.\n\n" + piece * (4_000_000 // len(piece)) + "\n\nAfter.")
    assert found.text.startswith("Before.") and found.text.endswith("After.")
    assert time.process_time() - start < 5


@pytest.mark.parametrize("piece", ["[", "*a ", "`a ", "<a ", "![", "{{", "> ", "_a*", "[a](", "&"])
def test_hostile_paragraphs_end_in_time(piece: str) -> None:
    start = time.process_time()
    read("Before.\n\n" + piece * (29_000 // len(piece)) + "\n\nAfter.")
    assert time.process_time() - start < 5


def test_a_base64_image_of_megabytes_leaves_the_prose() -> None:
    assert read("Before.\n\n![x](data:image/png;base64," + "A" * 3_000_000 + ")\n\nAfter.").text == "Before.\n\nAfter."


def test_the_id_depends_on_name_and_text_alone() -> None:
    assert read("Same.").id == read("---\ndate: 2020-01-01\n---\nSame.").id != read("Same.", "other.md").id


def test_all_posts_of_a_docusaurus_blog_are_read_without_residue() -> None:
    found = ingest(material("writing/didier") / "blog")
    assert len(found.documents) == 12 and not found.failures
    for document in found.documents:
        assert document.title and document.date and document.url
        assert not any(mark in document.text for mark in ("<p", "{{", "className", "truncate", "![", "](", "style="))


def test_all_posts_of_a_hugo_blog_are_read_or_named() -> None:
    found = ingest(material("writing/mtlynch"))
    assert len(found.documents) + len(found.failures) == 248
    assert {failure.source for failure in found.failures} == {"book-reports/_index.md", "projects/placeholder/index.md"}
    assert not any(mark in document.text for document in found.documents for mark in ("{{<", "{{%", "![](", "](/", "|---"))


@pytest.mark.parametrize(
    ("written", "read"),
    [("A &ldquo;front door&rdquo; for all", "A “front door” for all"), ("Action <em>and</em> ease", "Action and ease"),
     ("{{ site.name }}: what we learned", ": what we learned"), ("When 3 < 4 & 5 > 4", "When 3 < 4 & 5 > 4")],
)  # fmt: skip
def test_titles_are_read_as_a_site_would_show_them(written: str, read: str) -> None:
    assert read_markdown(f"---\ntitle: '{written}'\n---\nWords.", name="a.md").documents[0].title == read


def test_template_tags_inside_html_and_in_the_targets_of_images_are_gone() -> None:
    source = """<div class="q">{{ "ada" | photo }}
<blockquote>It rained.</blockquote>
{% image "a.jpg" "Ada" %}
</div>

![a chart]({{ "/assets/chart.svg" | url }}) Words. [A link]({% post_url 2020-01-01-x %}#top).
"""
    text = read_markdown(source, name="a.md").documents[0].text
    assert text == "> It rained.\n\nWords. A link."


class Counting:
    """A pattern that counts how often it is searched."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern, self._compiled, self.searches = pattern.pattern, pattern, 0

    def search(self, *where: Any) -> re.Match[str] | None:
        self.searches += 1
        return self._compiled.search(*where)


def plain_tag_end(text: str, start: int) -> int:
    """The definition of `tag_end`, character by character, each time anew."""
    opened = re.compile(r"</?[A-Za-z][\w.:-]*|</?>").match(text, start)
    if not opened or text[opened.end() - 1] == ">":
        return opened.end() if opened else -1
    depth, quote = 0, ""
    for position in range(opened.end(), len(text)):
        char = text[position]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'`":
            quote = char
        elif char in "{}":
            depth = max(0, depth + (1 if char == "{" else -1))
        elif char in "<>" and depth == 0:
            return position + 1 if char == ">" else -1
    return -1


@given(st.lists(st.sampled_from(["<a", "<b>", "{", "}", "'", '"', "`", ">", " x", "<"]), max_size=40))
def test_the_end_of_every_tag_is_where_reading_on_from_it_alone_finds_it(parts: list[str]) -> None:
    text = "".join(parts)
    assert [tag_end(text, n, len(text)) for n in range(len(text))] == [plain_tag_end(text, n) for n in range(len(text))]


def test_tags_whose_braces_never_close_are_not_each_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = Counting(markup._MARK)
    monkeypatch.setattr(markup, "_MARK", marks)
    source = "<a {" * 6000
    assert without_braces(source) == source and marks.searches < 30_000


def test_an_opener_that_is_never_closed_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    closer = Counting(re.compile("never"))
    monkeypatch.setattr(markdown_rules, "_pair_closer", lambda name: closer)
    read_markdown("Words.\n\n" + "{% raw\n" * 4000 + "\nMore words.", name="a.md")
    assert closer.searches == 1


def test_a_closer_is_found_after_each_of_several_openers() -> None:
    pair = "{% raw %}\ncode\n{% endraw %}\n\n"
    (document,) = read_markdown(f"One.\n\n{pair}Two.\n\n{pair}Three.", name="a.md").documents
    assert document.text == "One.\n\nTwo.\n\nThree."


def test_less_than_and_greater_than_in_prose_are_no_tag() -> None:
    prose = "For n <N the bound holds, and it is tight; for n > N it fails."
    assert read_markdown(prose, name="a.md").documents[0].text == prose


@pytest.mark.parametrize("tag", ["<Note>", '<a href="x">', "<Box style={{a: '>'}}>"])
def test_tags_in_prose_go_in_plain_markdown_too(tag: str) -> None:
    assert read_markdown(f"It {tag}rained.", name="a.md").documents[0].text == "It rained."


def test_footnotes_that_are_left_out_are_counted() -> None:
    reading = read_markdown("It rained.[^1][^2]\n\n[^1]: Hard.\n[^2]: Long.\n\nThen it stopped.", name="a.md")
    assert reading.documents[0].text == "It rained.\n\nThen it stopped." and reading.notes == {"footnotes left out": 2}


def test_a_comment_of_a_template_is_never_text() -> None:
    (document,) = read_markdown("One.\n\n{% comment %}Not yet.{% endcomment %}\n\nTwo.", name="a.md").documents
    assert document.text == "One.\n\nTwo."
