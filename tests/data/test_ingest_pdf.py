"""PDFs become paragraphs, without what stands on every page; what has no text says why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from shared_material import ingest, material

from tunesmith.data.ingest.readers.pdf import read_pdf
from tunesmith.data.text.decode import UnreadableError

Page = list[tuple[int, int, int, str]]  # x, y, size, text


def work() -> float:
    """Seconds that this process and those it waited for have worked; what others do on this machine does not count."""
    return sum(os.times()[:4])  # of this process and of those it waited for


def pdf(*pages: Page, title: str = "") -> bytes:
    """A PDF written by hand: one content stream a page, Helvetica, no compression."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, page in enumerate(pages):
        stream = "\n".join(f"BT /F1 {size} Tf {x} {y} Td ({text}) Tj ET" for x, y, size, text in page)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {5 + 2 * number} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects.append(f"<< /Title ({title}) /Author (Ada Byron) /CreationDate (D:20230411080000Z) >>")
    body, offsets = "%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    return (f"{body}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}").encode("latin-1")


def lines(*texts: str, top: int = 700, size: int = 12) -> Page:
    return [(72, top - 15 * n, size, text) for n, text in enumerate(texts)]


def test_lines_are_joined_and_a_gap_begins_a_paragraph() -> None:
    page = lines("It rained all morning and nobody in the", "harbour minded it. The boats lay still.")
    page += lines("In the evening the wind came round to", "the north.", top=650)
    found = read_pdf(pdf(page, title="Rain"), name="rain.pdf").documents[0]
    assert found.text == (
        "It rained all morning and nobody in the harbour minded it. The boats lay still.\n\n"
        "In the evening the wind came round to the north."
    )
    assert (found.title, found.author, found.date, found.extraction) == ("Rain", "Ada Byron", "2023-04-11", "pdf")


def test_a_hyphen_at_a_lines_end_goes_unless_the_text_writes_the_word_with_it() -> None:
    page = lines("The weather was remark-", "ably fine, and the well-", "known pilot, a well-known man, came.")
    assert read_pdf(pdf(page), name="x.pdf").documents[0].text == (
        "The weather was remarkably fine, and the well-known pilot, a well-known man, came."
    )


def test_running_heads_and_page_numbers_are_dropped_and_sentences_cross_pages() -> None:
    said = [
        "The first page ends in the middle of a",
        "sentence that the second page ends. Then more",
        "follows, and it ends here.",
    ]
    pages = [[(72, 780, 9, f"The Harbour Book, part {n}"), *lines(said[n]), (300, 30, 9, str(n + 1))] for n in range(3)]
    assert read_pdf(pdf(*pages), name="x.pdf").documents[0].text == " ".join(said)


def test_a_line_that_only_two_pages_share_is_kept() -> None:
    pages = [lines("A refrain.", f"Verse {word} has other words than all the rest.") for word in ("one", "two", "three")]
    pages[2] = lines("No such line.", "The third page has words of its own.")
    assert read_pdf(pdf(*pages), name="x.pdf").documents[0].text.count("A refrain.") == 2


def test_large_lines_are_headings_and_bullets_are_items() -> None:
    page = [(72, 740, 20, "The Harbour"), *lines("Boats lay there, as they had lain for years.", "- one", "- two")]
    assert read_pdf(pdf(page), name="x.pdf").documents[0].text == (
        "## The Harbour\n\nBoats lay there, as they had lain for years.\n\n- one\n\n- two"
    )


def test_a_page_without_text_is_counted_and_a_file_without_text_is_a_scan() -> None:
    reading = read_pdf(pdf(lines("Words on the first page."), []), name="x.pdf")
    assert reading.notes == {"PDF pages without a text layer left out": 1}
    with pytest.raises(UnreadableError, match="a scanned page has no text layer"):
        read_pdf(pdf([]), name="x.pdf")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("005-libreoffice-writer-password/libreoffice-writer-password.pdf", "it is encrypted"),
        ("019-grayscale-image/grayscale-image.pdf", "a scanned page has no text layer"),
        ("017-unreadable-meta-data/unreadablemetadata.pdf", "broken"),
    ],
)
def test_real_files_without_readable_text_say_why(name: str, reason: str) -> None:
    path = material("files/pdf") / name
    with pytest.raises(UnreadableError, match=reason):
        read_pdf(path.read_bytes(), name=path.name)


def test_a_cut_or_hostile_pdf_is_refused_in_time(tmp_path: Path) -> None:
    whole = pdf(lines("Some words that are there."))
    loop = whole.replace(b"/Kids [4 0 R]", b"/Kids [2 0 R]")
    huge = whole.replace(b"/MediaBox [0 0 600 800]", b"/MediaBox [0 0 6e9 8e9]")
    (tmp_path / "good.txt").write_text("Good words.")
    for name, data in {
        "cut.pdf": whole[:60],
        "loop.pdf": loop,
        "huge.pdf": huge,
        "junk.pdf": b"%PDF-1.7\n" + b"\xff" * 99,
    }.items():
        (tmp_path / name).write_bytes(data)
    start = work()
    found = ingest(tmp_path)
    assert work() - start < 10
    assert "good.txt" in {document.source for document in found.documents}
    assert {"cut.pdf", "junk.pdf"} <= {failure.source for failure in found.failures}


def test_a_stream_that_unpacks_to_gigabytes_is_stopped(tmp_path: Path) -> None:
    import zlib

    packer = zlib.compressobj(9)
    bomb = b"".join([packer.compress(b" " * 1_000_000) for _ in range(1500)]) + packer.flush()
    whole = pdf([(72, 700, 12, "x")])
    start = whole.index(b"<< /Length", whole.index(b"5 0 obj"))
    end = whole.index(b"endobj", start)
    stream = b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream\n" % (len(bomb), bomb)
    begun = work()
    with pytest.raises(UnreadableError):
        read_pdf(whole[:start] + stream + whole[end:], name="bomb.pdf")
    assert work() - begun < 6
