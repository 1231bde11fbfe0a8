"""PDFs to documents: the text layer, its lines joined to paragraphs; what stands on every page is left out."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import orjson

from tunesmith.data.ingest import pdf_worker
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.item import Reading, make_document
from tunesmith.data.ingest.metadata import iso_date, title_from_name
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.decode import PassingError, UnreadableError
from tunesmith.data.text.prose import text_from_blocks
from tunesmith.data.text.words import num_words

__all__ = ["READER", "is_pdf", "read_pdf"]

_WAIT_S = 60.0  # for a process that waits for others; its own work is bounded by the worker, on any machine alike
_TOO_LONG = f"the PDF takes longer than {pdf_worker.MAX_SECONDS} s to read"
_EDGE = 2  # how many lines at the head and foot of a page may be running heads
_BULLET = re.compile(r"^[•‣◦▪●○–\-*·]\s+(?=\S)")
_NUMBERED = re.compile(r"^(\d{1,3})[.)]\s+(?=\S)")
_PAGE_NUMBER = re.compile(
    r"^\W*(?:page|seite|p\.)?\s*(?:\d{1,4}|[ivxlc]{1,7})(?:\s*(?:/|of|von)\s*\d{1,4})?\W*$", re.IGNORECASE
)
_ENDS = re.compile(r"[.!?:;…][\"'”’»)\]]*$")
_NO_TITLE = re.compile(r"^(?:untitled|microsoft word|document\d*|.*\.(?:docx?|tex|pdf|indd|qxd))\b", re.IGNORECASE)
_HYPHENED = re.compile(r"([^\W\d_]+)\u00ad([^\W\d_]+)")
_DATE = re.compile(r"D?:?(\d{4})(\d{2})(\d{2})")


class _Line(NamedTuple):
    """One line of a page, in points; `gap` is the distance to the line above, negative where a new column begins."""

    text: str
    left: float
    right: float
    size: float
    gap: float


def is_pdf(data: bytes) -> bool:
    """Whether the bytes are a PDF: its mark stands within the first kilobyte."""
    return b"%PDF-" in data[:1024]


def read_pdf(data: bytes, *, name: str) -> Reading:
    """One document from one PDF, read in a process of its own within 4 s of work and 480 MB.

    Lines are joined to paragraphs, hyphens at line ends resolved, running heads and page numbers dropped. UnreadableError says
    when it is encrypted, broken, or a scan without a text layer.
    """
    found = _run(data)
    if found.get("error") == "password":
        raise UnreadableError("it is encrypted; save a copy without the password")
    if found.get("error"):
        raise UnreadableError("the PDF is broken and cannot be opened")
    pages = [_lines(page) for page in found["pages"]]
    bare = sum(not page for page in pages)
    if bare == len(pages):
        raise UnreadableError("a scanned page has no text layer; run a text recognition (OCR) over it first")
    notes: Counter[str] = Counter()
    if bare:
        notes["PDF pages without a text layer left out"] += bare
    if found.get("cut"):
        notes["PDFs cut after 5,000,000 characters"] += 1
    text = _prose(_without_running_heads(pages))
    if not num_words(text):
        raise UnreadableError("its text layer holds no words")
    metadata: Mapping[str, Any] = found.get("metadata") or {}
    title = " ".join(str(metadata.get("Title") or "").split())
    document = make_document(
        name=name,
        text=text,
        title=(title if title and not _NO_TITLE.match(title) else None) or title_from_name(name),
        author=" ".join(str(metadata.get("Author") or "").split()) or None,
        date=_date(str(metadata.get("CreationDate") or "")),
        extraction="pdf",
    )
    return Reading(documents=(document,), notes=dict(notes))


def _run(data: bytes) -> dict[str, Any]:
    command = [sys.executable, "-P", str(Path(pdf_worker.__file__))]  # -P: our html.py must not hide the library's
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=_WAIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise PassingError(_TOO_LONG) from error
    if done.returncode == -getattr(signal, "SIGXCPU", 24):
        raise PassingError(_TOO_LONG)
    if done.returncode == 0:
        found: dict[str, Any] = orjson.loads(done.stdout)
        return found
    last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    if "ModuleNotFoundError" in last:
        raise PassingError("PDF files need pypdfium2; type: pip install pypdfium2")
    if "MemoryError" in last:
        raise UnreadableError("the PDF needs more than 480 MB to read")
    if done.returncode == -getattr(signal, "SIGKILL", 9):
        raise PassingError("the reader was killed at it")
    raise UnreadableError("the PDF is broken: the reader stopped at it")


def _lines(page: Sequence[Sequence[Any]]) -> list[_Line]:
    lines: list[_Line] = []
    above: float | None = None
    for text, left, right, top, bottom, size in page:
        text = " ".join(text.split())
        lines.append(_Line(text, left, right, size, above - top if above is not None else 0.0))
        above = bottom
    return lines


def _without_running_heads(pages: list[list[_Line]]) -> list[list[_Line]]:
    """Lines that stand at the edge of at least three pages and a third of them, digits apart; and page numbers."""
    seen: Counter[str] = Counter()
    for page in pages:
        seen.update({_shape(line.text) for line in (*page[:_EDGE], *page[-_EDGE:])})
    often = max(3, len(pages) / 3)
    running = {shape for shape, count in seen.items() if count >= often}
    kept = []
    for page in pages:
        last = len(page) - 1
        kept.append(
            [
                line
                for index, line in enumerate(page)
                if not (
                    (index < _EDGE or index > last - _EDGE)
                    and (_shape(line.text) in running or (index in (0, last) and last and _PAGE_NUMBER.match(line.text)))
                )
            ]
        )
    return kept


def _shape(text: str) -> str:
    return re.sub(r"\d+", "#", text).casefold()


def _prose(pages: list[list[_Line]]) -> str:
    lines = [line for page in pages for line in page]
    if not lines:
        return ""
    body = median(line.size for line in lines)
    usual = median([line.gap for line in lines if 0 < line.gap < 4 * max(body, line.size)] or [body])
    vocabulary = Counter(word.casefold() for line in lines for word in re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", line.text))
    writer = BlockWriter()
    open_lines: list[_Line] = []
    for page in pages:
        width = max((line.right for line in page), default=0.0)
        for index, line in enumerate(page):
            if open_lines and _begins(open_lines, line, first=index == 0, usual=usual, width=width):
                _write(writer, open_lines, body, vocabulary)
                open_lines = []
            open_lines.append(line)
    _write(writer, open_lines, body, vocabulary)
    writer.close_lines()
    return text_from_blocks(writer.blocks)


def _begins(before: list[_Line], line: _Line, *, first: bool, usual: float, width: float) -> bool:
    """Whether a line begins a paragraph: by size, gap, mark, indent, or because the line above ends short."""
    above = before[-1]
    if abs(above.size - line.size) > 0.8 or _BULLET.match(line.text) or _NUMBERED.match(line.text):
        return True
    ended = bool(_ENDS.search(above.text))
    if first or line.gap < 0:  # a page or column border: only an unfinished sentence crosses it
        return ended or not (line.text[:1].islower() or above.text.endswith(("\u00ad", "-", ",")))
    if line.gap > 1.4 * usual:
        return True
    left = min(part.left for part in before[-3:])
    if 6 < line.left - left < 60 and ended:
        return True
    reach = max([part.right for part in before] + [width * 0.75])
    return ended and above.right < reach - 0.12 * (reach - left)


def _write(writer: BlockWriter, lines: list[_Line], body: float, vocabulary: Counter[str]) -> None:
    text = ""
    for line in lines:
        hyphened = text.endswith(("-", "\u00ad")) and line.text[:1].isalpha()
        text = f"{text[:-1]}\u00ad{line.text}" if hyphened else f"{text} {line.text}".lstrip()
    text = _HYPHENED.sub(lambda found: _resolved(found[1], found[2], vocabulary), text).replace("\u00ad", "")
    words = num_words(text)
    if bullet := _BULLET.match(text):
        writer.open_list()
        writer.open_item()
        writer.paragraph(text[bullet.end() :])
        writer.close_list()
    elif lines[0].size > 1.12 * body and 0 < words <= 16 and len(lines) <= 3 and not text.endswith((".", ",")):
        writer.heading(2, text)
    elif words:
        writer.paragraph(text)


def _resolved(first: str, second: str, vocabulary: Counter[str]) -> str:
    """A word that a line's end divides: its hyphen stays only before a capital, or where the text elsewhere writes it so."""
    whole = f"{first}{second}".casefold()
    keeps = second[:1].isupper() or vocabulary[f"{first}-{second}".casefold()] > vocabulary[whole]
    return f"{first}-{second}" if keeps else f"{first}{second}"


def _date(text: str) -> str | None:
    found = _DATE.match(text)
    return iso_date("-".join(found.groups())) if found else iso_date(text)


READER = Reader(kind="pdf", read=read_pdf, first_bytes=is_pdf, promises={".pdf": "PDF"})
