"""Word files, EPUB books and zip archives: their prose is read, and no hostile one gets through."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from shared_material import ingest, material

from tunesmith.data.ingest.readers.docx import read_docx
from tunesmith.data.ingest.readers.epub import read_epub
from tunesmith.data.text.decode import UnreadableError

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
STYLES = f"""<w:styles {W}><w:style w:styleId="H2"><w:name w:val="heading 2"/></w:style>
<w:style w:styleId="Mine"><w:name w:val="My head"/><w:basedOn w:val="H2"/></w:style>
<w:style w:styleId="Q"><w:name w:val="Quote"/></w:style><w:style w:styleId="C"><w:name w:val="Code"/></w:style></w:styles>"""
NUMBERING = f"""<w:numbering {W}><w:abstractNum w:abstractNumId="7"><w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/></w:lvl>
</w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num></w:numbering>"""
CORE = """<cp:p xmlns:cp="c" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:t="http://purl.org/dc/terms/"><dc:title>Rain</dc:title>
<dc:creator>Ada Byron</dc:creator><t:created>2023-04-11T08:00:00Z</t:created></cp:p>"""


def packed(**members: str | bytes) -> bytes:
    return packed_as({name.replace("__", "/"): data for name, data in members.items()})


def packed_as(members: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def paragraph(text: str, style: str = "", extra: str = "") -> str:
    mark = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f"<w:p><w:pPr>{mark}{extra}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def docx(body: str, head: str = "") -> bytes:
    document = f'<?xml version="1.0"?>{head}<w:document {W}><w:body>{body}</w:body></w:document>'
    parts = {
        "word/document.xml": document,
        "word/styles.xml": STYLES,
        "word/numbering.xml": NUMBERING,
        "docProps/core.xml": CORE,
    }
    return packed_as(dict(parts))


ITEM = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'


def test_a_word_file_gives_headings_lists_quotes_and_its_properties() -> None:
    body = paragraph("Why", "Mine") + paragraph("It rained.") + paragraph("one", extra=ITEM) + paragraph("two", extra=ITEM)
    found = read_docx(docx(body + paragraph("said", "Q") + paragraph("x = 1", "C")), name="rain.docx")
    one = found.documents[0]
    assert one.text == "## Why\n\nIt rained.\n\n1. one\n2. two\n\n> said" and found.notes == {"code blocks left out": 1}
    assert (one.title, one.author, one.date, one.extraction) == ("Rain", "Ada Byron", "2023-04-11", "docx")


def test_deleted_text_tables_field_codes_and_text_boxes_of_a_word_file_are_left_out() -> None:
    body = (
        paragraph("Kept.")
        + "<w:p><w:r><w:t>Also </w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:r><w:t>kept.</w:t></w:r>"
        + "<w:r><w:instrText>PAGE</w:instrText></w:r><w:r><w:drawing><w:t>box</w:t></w:drawing></w:r></w:p>"
        + f"<w:tbl><w:tr><w:tc>{paragraph('cell')}</w:tc></w:tr></w:tbl>"
    )
    found = read_docx(docx(body), name="x.docx")
    assert found.documents[0].text == "Kept.\n\nAlso kept." and found.notes == {"tables left out": 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (docx(paragraph("&a;"), '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'), "document type"),
        (docx("<w:p>" * 5000 + "</w:p>" * 5000), "nested too deeply"),
        (docx("<w:p><w:r>"), "broken"),
        (docx(""), "no text"),
        (docx(paragraph("word"))[:900], "damaged or cut"),
        (packed(word__document_xml="x"), "lacks its part word/document.xml"),
    ],
)
def test_a_hostile_or_empty_word_file_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read_docx(data, name="x.docx")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("words.docx", lambda: docx(paragraph("word " * 12_000_000)), "unpacks to more than 50 MB"),
        ("elements.docx", lambda: docx("<w:p/>" * 8_000_000), "more than a million elements"),
        ("many.zip", lambda: packed_as({f"{n}.txt": "word" for n in range(20_001)}), "more than 20,000 files"),
        ("lots.zip", lambda: packed_as({f"{n}.json": b" " * 49_000_000 for n in range(9)}), "unpacks to more than"),
    ],
)
def test_a_bomb_in_a_zip_package_is_refused_within_five_seconds(
    tmp_path: Path, name: str, make: Callable[[], bytes], reason: str
) -> None:
    (tmp_path / "good.md").write_text("Good words.")
    (tmp_path / name).write_bytes(make())
    start = time.process_time()
    found = ingest(tmp_path)
    assert time.process_time() - start < 5
    assert any(failure.source.startswith(name) and reason in failure.reason for failure in found.failures)


def test_every_real_manuscript_is_read_with_its_headings() -> None:
    found = ingest(material("files/docx"))
    assert len(found.documents) == 6 and not found.failures
    assert all(document.title and document.author and "\n## " in f"\n{document.text}" for document in found.documents)


CONTAINER = '<container xmlns="c"><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
OPF = """<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>
<dc:title>The Harbour Book</dc:title><dc:creator>Ada Byron</dc:creator><dc:date>2023-04-11</dc:date></metadata><manifest>
<item id="b" href="two.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="one%201.xhtml" media-type="application/xhtml+xml"/>
<item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/><item id="c" href="cover.xhtml"
media-type="application/xhtml+xml"/></manifest><spine><itemref idref="c"/><itemref idref="n"/>
<itemref idref="a"/><itemref idref="b"/></spine></package>"""
PROSE = (
    "It rained all morning and nobody in the whole harbour minded it very much, for the boats were dry and the pilot slept. "
)


def epub(**changes: str) -> bytes:
    members = {
        "META-INF/container.xml": CONTAINER,
        "OPS/book.opf": OPF,
        "OPS/one 1.xhtml": f"<!DOCTYPE html><html><body><h1>Chapter 1</h1><h2>Rain</h2><p>{PROSE}</p><p>End.</p></body></html>",
        "OPS/two.xhtml": f"<html><body><p>{PROSE} Again.</p></body></html>",
        "OPS/nav.xhtml": "<html><body><ol><li>Rain</li></ol></body></html>",
        "OPS/cover.xhtml": "<html><body><p>A cover</p></body></html>",
    }
    return packed_as({**members, **{name.replace("__", "/").replace("_dot_", "."): text for name, text in changes.items()}})


def test_a_book_gives_its_chapters_in_the_order_of_the_spine() -> None:
    found = read_epub(epub(), name="book.epub")
    assert [document.title for document in found.documents] == ["Chapter 1: Rain", "The Harbour Book, part 3"]
    first = found.documents[0]
    assert first.text == f"{PROSE.strip()}\n\nEnd." and (first.author, first.date) == ("Ada Byron", "2023-04-11")
    assert found.notes == {"parts of books under 20 words left out": 1}


def test_a_protected_book_is_refused_and_one_that_hides_its_fonts_is_read() -> None:
    listed = '<encryption xmlns="e"><EncryptedData><CipherReference URI="{}"/></EncryptedData></encryption>'
    with pytest.raises(UnreadableError, match="encrypted"):
        read_epub(epub(**{"META-INF__encryption_dot_xml": listed.format("OPS/two.xhtml")}), name="b.epub")
    assert read_epub(epub(**{"META-INF__encryption_dot_xml": listed.format("OPS/font.otf")}), name="b.epub").documents


def test_a_missing_chapter_is_named_and_the_others_are_read() -> None:
    broken = OPF.replace("two.xhtml", "../../../etc/passwd")
    found = read_epub(epub(OPS__book_dot_opf=broken), name="b.epub")
    assert len(found.documents) == 1 and "chapter 3 (passwd): it lacks its part" in found.failures[0].reason


def test_entities_in_the_package_of_a_book_are_refused() -> None:
    with pytest.raises(UnreadableError, match="document type"):
        read_epub(epub(OPS__book_dot_opf=f'<!DOCTYPE p [<!ENTITY a "b">]>{OPF}'), name="b.epub")


def test_an_archive_is_read_like_a_folder_and_so_is_one_inside_it_but_no_deeper(tmp_path: Path) -> None:
    inner = packed_as({"a.md": "Inside.", "deep.zip": packed_as({"b.md": "Too deep."})})
    members: dict[str, str | bytes] = {
        "posts/a.md": "# One\n\nWords.",
        "b.txt": "Text.",
        ".hidden.md": "no",
        "x.png": b"\x89PNG",
        "in.zip": inner,
    }
    (tmp_path / "all.zip").write_bytes(packed_as(members))
    found = ingest(tmp_path)
    assert [document.source for document in found.documents] == [
        "all.zip/b.txt",
        "all.zip/in.zip/a.md",
        "all.zip/posts/a.md",
    ]
    reason = "an archive inside an archive inside an archive is not opened"
    assert [(f.source, f.reason) for f in found.failures] == [("all.zip/in.zip/deep.zip", reason)]


def test_files_that_only_bear_the_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Words.")
    for name in ("a.pdf", "a.docx", "a.epub", "a.zip"):
        (tmp_path / name).write_text("no such thing")
    assert all("it is named" in failure.reason for failure in ingest(tmp_path).failures)
    (tmp_path / "sheet.xlsx").write_bytes(packed_as({"xl/workbook.xml": "<x/>"}))
    assert "spreadsheets are not read yet" in {failure.reason for failure in ingest(tmp_path).failures}
