"""What of HTML is prose: code is told from text in `<pre>`, tables of data from layout, notes from the text."""

from __future__ import annotations

from collections import Counter

import pytest

from tunesmith.data.ingest.markup import fragment_blocks
from tunesmith.data.text.prose import text_from_blocks

LETTER = "Dear Ada, the harbour is frozen, and the boats stand on the quay as if someone had forgotten them there."
RFC = (
    "1.  Introduction\n\n   This memo describes how two hosts agree on the time of day when neither of\n"
    "   them trusts its own clock (see [RFC1305]).  It MUST be read before the next one.\n\n"
) * 8 + "   +-------+        +-------+\n   |  one  |------->|  two  |\n   +-------+        +-------+\n\n"


def read(source: str) -> tuple[str, Counter[str]]:
    notes: Counter[str] = Counter()
    return text_from_blocks(fragment_blocks(source, notes)), notes


@pytest.mark.parametrize(
    "code",
    [
        "npm install\nnpm run build\nnpm start",
        "brew install wget",
        "def f(x):\n    return x + 1",
        "SELECT name\nFROM users\nWHERE id",
        "title: my blog\nauthor: someone\ntheme: plain",
        "for i in range of things do\n  print hello world\nend",
        "2024-02-03 10:11:12 INFO the server was started\n2024-02-03 10:11:13 INFO the server was stopped",
        '<span class="kw">The</span> words in here are plain, but the page calls them code.',
        "$ make all the things\n$ make install",
    ],
)
def test_code_in_pre_is_left_out_and_counted(code: str) -> None:
    holder = '<div class="highlight"><pre>{}</pre></div>' if "<span" in code else "<pre>{}</pre>"
    text, notes = read(f"<p>Before.</p>{holder.format(code)}<p>After.</p>")
    assert text == "Before.\n\nAfter." and notes["code blocks left out"] == 1


def test_code_in_pre_and_code_is_code_whatever_its_words_are() -> None:
    text, notes = read("<pre><code>This is a sentence that somebody marked as code.</code></pre><p>After.</p>")
    assert text == "After." and notes["code blocks left out"] == 1


def test_a_letter_in_pre_is_prose_and_its_lines_are_joined() -> None:
    text, notes = read(f"<pre>{LETTER[:55]}\n{LETTER[55:]}\n\nYours,\nBo</pre>")
    assert text.startswith("Dear Ada, the harbour is frozen, and the boats stand on") and "\n\nYours,\nBo" in text
    assert len(text.split("\n\n")[0].split("\n")) == 1 and not notes


def test_verse_in_pre_keeps_its_lines() -> None:
    verse = "The boats are in the ice,\nThe ice is in the bay,\nAnd nobody has thought it twice\nTo take the ice away."
    assert read(f"<pre>{verse}</pre>")[0] == verse


def test_a_memo_in_pre_keeps_its_words_without_the_figures() -> None:
    text, _ = read(f"<pre>{RFC}</pre>")
    assert text.count("It MUST be read before the next one.") == 8 and "+---" not in text


def test_a_table_of_data_is_left_out_and_counted() -> None:
    rows = "".join(f"<tr><td>{year}</td><td>{year * 3}</td></tr>" for year in range(2000, 2010))
    for head in ("", "<tr><th>Year</th><th>Fish</th></tr>", "<caption>Fish</caption>"):
        text, notes = read(f"<p>Before.</p><table>{head}{rows}</table><p>After.</p>")
        assert text == "Before.\n\nAfter." and notes["tables left out"] == 1


@pytest.mark.parametrize(
    "table",
    [
        "<table><tr><td>{0}</td></tr></table>",
        "<table><tr><td>Menu</td><td><p>{0}</p></td></tr></table>",
        "<table role='presentation'><tr><td>a</td><td>{0}</td></tr><tr><td>b</td><td>c</td></tr></table>",
        "<table><tr><th>When</th><th>What</th></tr><tr><td>Monday</td><td>{0} {0}</td></tr></table>",
        "<table><tr><td><table><tr><td>{0}</td></tr></table></td></tr></table>",
        "<table><tr><td><h2>Ice</h2>{0}</td><td>side</td></tr><tr><td>x</td><td>y</td></tr></table>",
    ],
)
def test_a_table_that_lays_out_text_keeps_it(table: str) -> None:
    text, notes = read(table.format(LETTER))
    assert LETTER in text and "tables left out" not in notes


def test_a_form_around_a_page_keeps_the_page_and_one_to_fill_in_is_left_out() -> None:
    assert read(f"<form><input><p>{LETTER}</p><p>Bo</p></form>")[0] == f"{LETTER}\n\nBo"
    assert read("<form><p>Your name</p><input></form><p>After.</p>")[0] == "After."


def test_a_figure_keeps_a_quotation_and_loses_its_caption() -> None:
    assert (
        read("<figure><blockquote><p>Said she.</p></blockquote><figcaption>Ada, 1840</figcaption></figure>")[0] == "> Said she."
    )
    assert read("<figure><img src=x><figcaption>A boat in the ice</figcaption></figure><p>After.</p>")[0] == "After."
    assert read("<figure><div>https://video.example/1</div></figure><p>After.</p>")[0] == "After."


@pytest.mark.parametrize(
    ("mark", "note"),
    [
        (
            '<sup><a href="#fn1" id="fnref1">1</a></sup>',
            '<section class="footnotes"><hr><ol><li id="fn1"><p>NOTE <a href="#fnref1">↩</a></p></li></ol></section>',
        ),
        (
            '<a href="#_ftn1" name="_ftnref1">[1]</a>',
            '<div id="ftn1"><p><a href="#_ftnref1" name="_ftn1">[1]</a> NOTE</p></div>',
        ),
        (
            '<a href="#ftnt1" id="ftnt_ref1">[1]</a>',
            '<hr><div><p><a href="#ftnt_ref1" id="ftnt1">[1]</a> NOTE</p><p>NOTE</p></div>',
        ),
        (
            '<sup id="cite_ref-1"><a href="#cite_note-1">[1]</a></sup>',
            '<ol class="references"><li id="cite_note-1"><a href="#cite_ref-1">^</a> NOTE</li></ol>',
        ),
        ('<a role="doc-noteref" href="#n1">1</a>', '<aside role="doc-footnote" id="n1">NOTE</aside>'),
        (
            '<a class="sdfootnoteanc" href="#sdfootnote1sym">1</a>',
            '<div id="sdfootnote1"><p><a name="sdfootnote1sym" href="#sdfootnote1anc">1</a> NOTE</p></div>',
        ),
    ],
)
def test_footnotes_and_their_marks_are_left_out_and_counted(mark: str, note: str) -> None:
    text, notes = read(f"<p>{LETTER}{mark}</p><p>Bo</p>{note}")
    assert text == f"{LETTER}\n\nBo" and notes == {"footnotes left out": 1}


def test_a_heading_over_nothing_but_footnotes_goes_with_them() -> None:
    text, _ = read(f'<p>{LETTER}</p><h2>Notes</h2><div class="footnotes"><p>One.</p></div>')
    assert text == LETTER


def test_comments_of_others_in_a_document_are_left_out_and_counted() -> None:
    text, notes = read(
        f'<p>{LETTER}<sup><a href="#cmnt1" id="cmnt_ref1">[a]</a></sup></p>'
        '<div><p><a href="#cmnt_ref1" id="cmnt1">[a]</a><span>Bo: must go</span></p><p>and this</p></div>'
    )
    assert text == LETTER and notes == {"comments of others left out": 1}


def test_links_within_a_page_are_no_footnotes() -> None:
    source = '<p>See <a href="#note-on-ice">the note on ice</a> and <a href="#part2">2</a>.</p><p id="part2">Second part.</p>'
    assert read(source) == ("See the note on ice and 2.\n\nSecond part.", Counter())
