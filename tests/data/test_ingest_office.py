"""RTF and OpenDocument files become the same prose as everything else; what is encrypted, cut or a bomb is named."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

import pytest
from shared_material import ingest

from tunesmith.core.errors import SourceError
from tunesmith.data.ingest.kinds import guess_kind
from tunesmith.data.ingest.readers.odt import read_odt
from tunesmith.data.ingest.readers.rtf import read_rtf
from tunesmith.data.text.decode import UnreadableError

SECRET = "SECRET"
RTF = (
    r"{\rtf1\ansi\ansicpg1252\uc1{\fonttbl{\f0\froman\fcharset0 Times;}{\f1\fnil\fcharset204 Arial;}}"
    r"{\stylesheet{\s0 Normal;}{\s1\outlinelevel0\b heading 1;}{\s5\i Quote;}{\s6\f1 HTML Preformatted;}{\*\cs10 Default;}}"
    r"{\info{\title The quay}{\author Ada Byron}{\creatim\yr2021\mo3\dy4\hr9}{\*\company SECRET}{\doccomm SECRET}}"
    r"{\header SECRET\par}{\*\generator SECRET;}"
    r"\pard\plain\f0 It {\b rained} on the quay\'85 caf\'e9 and \u8364?5, \u-10179?\u-8704?{\footnote\pard SECRET}"
    r" {\v SECRET}{\field{\*\fldinst HYPERLINK SECRET}{\fldrslt all day}}.\par"
    r"\pard\plain\s1\outlinelevel0 After the rain\par"
    r"\pard\plain{\listtext\pard\plain\f0 \'b7\tab}\ls1 one\par{\listtext\pard\plain \'b7\tab}two\line more\par"
    r"\pard\plain{\listtext\pard 1.\tab}first\par{\listtext\pard 2.\tab}second\par"
    r"\pard\plain\s5 Bo said so.\par\pard\plain\s6 SECRET\par"
    r"\trowd\pard\intbl SECRET\cell b\cell\row\pard {\f1\'cc\'e8\'f0} \{x\}\~y.\par"
    r"{\pict\pngblip 53454352}{\object SECRET}"
    "\n}"
)


def test_an_rtf_file_becomes_prose_with_what_it_says_of_itself() -> None:
    reading = read_rtf(RTF.encode("ascii"), name="a.rtf")
    document = reading.documents[0]
    assert document.text == (
        "It rained on the quay… café and €5, 😀 all day.\n\n# After the rain\n\n- one\n- two more\n\n1. first\n2. second\n\n"
        "> Bo said so.\n\nМир {x} y."
    )
    assert (document.title, document.author, document.date) == ("The quay", "Ada Byron", "2021-03-04")
    assert reading.notes == {"footnotes left out": 1, "code blocks left out": 1, "tables left out": 1}


def test_an_rtf_file_of_a_simple_editor_has_paragraphs_at_its_line_ends() -> None:
    text = "{\\rtf1\\ansi\\cocoartf2761\n{\\fonttbl\\f0\\fcharset0 Helvetica;}\n\\f0\\fs24 \\cf0 It rained.\\\n\\\nAll day.}"
    assert read_rtf(text.encode(), name="rain.rtf").documents[0].text == "It rained.\n\nAll day."


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (rb"{\rtf1 Words {\b never closed", "groups in it never end"),
        (rb"{\rtf1\ansi}", "no prose"),
        (rb"{\rtf1\ansi{\pict 00}}", "no prose"),
    ],
)
def test_an_rtf_file_that_is_broken_or_empty_says_so(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read_rtf(data, name="a.rtf")


@pytest.mark.parametrize(
    "piece", ["{", "{}", "\\'e9", "\\u8364?", "{\\footnote a}", "\\bin9 ", "\\par ", "{\\*\\x a}", "\\s1 ", "{\\s1 "]
)
def test_hostile_rtf_ends_in_time(piece: str) -> None:
    start = time.process_time()
    body = piece * (200_000 // len(piece))
    try:
        read_rtf(f"{{\\rtf1 Words. {body}}}".encode(), name="a.rtf")
    except UnreadableError as error:
        assert str(error)
    assert time.process_time() - start < 5


def test_a_file_named_rtf_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.rtf").write_text("Words.", encoding="utf-8")
    with pytest.raises(SourceError, match=r"it is named \.rtf but holds no RTF document"):
        ingest(tmp_path)


SPACES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{what}:1.0"'
    for name, what in (
        ("office", "office"),
        ("text", "text"),
        ("table", "table"),
        ("draw", "drawing"),
        ("style", "style"),
        ("meta", "meta"),
    )
)
SPACES += ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
STYLES = (
    '<office:automatic-styles><style:style style:name="P1" style:family="paragraph" style:parent-style-name="Quotations"/>'
    '<style:style style:name="P2" style:family="paragraph" style:parent-style-name="Preformatted_20_Text"/>'
    '<text:list-style style:name="L2"><text:list-level-style-number text:level="1"/></text:list-style>'
    "</office:automatic-styles>"
)
BODY = (
    "<office:body><office:text><text:sequence-decls/><text:tracked-changes><text:p>SECRET</text:p></text:tracked-changes>"
    '<text:p>It <text:span>rained</text:span>\n on<text:s text:c="3"/>the quay'
    "<text:note><text:note-body><text:p>SECRET</text:p>"
    "</text:note-body></text:note><office:annotation><text:p>SECRET</text:p></office:annotation>."
    "<text:line-break/>All day.</text:p>"
    '<text:h text:outline-level="2">After the rain</text:h>'
    "<text:list><text:list-item><text:p>one</text:p><text:list><text:list-item><text:p>two</text:p></text:list-item></text:list>"
    '</text:list-item></text:list><text:list text:style-name="L2"><text:list-item><text:p>first</text:p></text:list-item>'
    "<text:list-item><text:p>second</text:p></text:list-item></text:list>"
    '<text:p text:style-name="P1">Bo said so.</text:p><text:p text:style-name="P2">SECRET</text:p>'
    "<table:table><table:table-row><table:table-cell><text:p>SECRET</text:p></table:table-cell></table:table-row></table:table>"
    '<text:section text:display="none"><text:p>SECRET</text:p></text:section>'
    "<text:p><draw:frame><draw:text-box><text:p>SECRET</text:p></draw:text-box></draw:frame></text:p>"
    "</office:text></office:body>"
)
META = (
    "<office:meta><dc:title>The quay</dc:title><meta:initial-creator>Ada Byron</meta:initial-creator>"
    "<dc:creator>Bo</dc:creator>"
    "<meta:creation-date>2021-03-04T09:00:00</meta:creation-date><dc:language>en</dc:language></office:meta>"
)
KIND = "application/vnd.oasis.opendocument.text"


def odt(body: str = STYLES + BODY, *, kind: str = KIND, manifest: str = "<m/>") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("mimetype", kind)
        package.writestr("META-INF/manifest.xml", manifest)
        package.writestr("meta.xml", f"<office:document-meta {SPACES}>{META}</office:document-meta>")
        package.writestr("content.xml", f"<office:document-content {SPACES}>{body}</office:document-content>")
    return file.getvalue()


def test_an_opendocument_text_becomes_prose_with_what_it_says_of_itself(tmp_path: Path) -> None:
    (tmp_path / "a.odt").write_bytes(odt())
    (tmp_path / "b.fodt").write_text(f"<office:document {SPACES}>{META}{STYLES}{BODY}</office:document>", encoding="utf-8")
    found = ingest(tmp_path)
    assert {document.text for document in found.documents} == {
        "It rained on the quay.\nAll day.\n\n## After the rain\n\n- one\n- two\n\n1. first\n2. second\n\n> Bo said so."
    }
    document = found.documents[0]
    assert (document.title, document.author, document.date, document.language) == ("The quay", "Ada Byron", "2021-03-04", "en")
    notes = read_odt(odt(), name="a.odt").notes
    assert notes == {"footnotes left out": 1, "code blocks left out": 1, "tables left out": 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (odt(kind="application/vnd.oasis.opendocument.spreadsheet"), "of the kind spreadsheet are not read yet"),
        (odt(manifest="<m><encryption-data/></m>"), "encrypted with a password"),
        (odt("<office:body><office:text/></office:body>"), "no prose"),
        (odt("<office:body><unclosed></office:body>"), "XML is broken"),
        (odt("<a>" * 300 + "</a>" * 300), "nested too deeply"),
        (odt(BODY + " " * (60 * 1024 * 1024)), "unpacks to more than 50 MB"),
        (odt("<text:p/>" * 1_100_000), "a million elements"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "document type"),
    ],
)
def test_an_opendocument_file_that_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    start = time.process_time()
    with pytest.raises(UnreadableError, match=reason):
        read_odt(data, name="a.odt")
    assert time.process_time() - start < 5


def test_a_zip_of_posts_with_a_file_named_content_is_no_opendocument() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as package:
        package.writestr("content.xml", "<a/>")
        package.writestr("post.md", "Words.")
    assert guess_kind("posts.zip", file.getvalue(), alone=True) == "archive"
    assert guess_kind("a.bin", odt(), alone=True) == "odt"
