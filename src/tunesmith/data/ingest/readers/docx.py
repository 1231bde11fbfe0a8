"""Word files to documents: headings, paragraphs, lists and quotes of the body, with the file's own title, author and date."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.item import Reading, make_document
from tunesmith.data.ingest.metadata import iso_date, title_from_name
from tunesmith.data.ingest.package import Package, feed_xml, open_package, read_xml
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import text_from_blocks, without_title
from tunesmith.data.text.words import num_words

__all__ = ["READER", "read_docx"]

_W = re.compile(
    r"^\{http://(?:schemas\.openxmlformats\.org/wordprocessingml/2006/main|purl\.oclc\.org/ooxml/wordprocessingml/main)\}"
)
_HEADING = re.compile(r"^(?:heading|überschrift|titre|head) ?([1-9a-f])$", re.IGNORECASE)
_CODE = re.compile(r"code|html preformatted|listing|source|verbatim", re.IGNORECASE)
# Deleted or moved text, drawings and their text boxes, and the fallback that repeats them.
_SKIPPED = frozenset(["del", "moveFrom", "drawing", "pict", "object", "txbxContent", "rPrChange", "pPrChange"])
_MAX_ELEMENTS = 1_000_000
_TOO_MANY = "it has more than a million elements"
_MAX_DOCUMENT_BYTES = 50 * 1024 * 1024


@dataclass(slots=True)
class _Style:
    """What a paragraph style means: a level of heading (0 for none), a list, a quote, code."""

    heading: int = 0
    kind: str = ""
    based_on: str = ""


@dataclass(slots=True)
class _Paragraph:
    """The paragraph being read."""

    style: str = ""
    heading: int = 0
    numbering: str = ""
    level: int = 0
    text: list[str] = field(default_factory=list)


def read_docx(data: bytes, *, name: str) -> Reading:
    """One document from one DOCX: body text only, without tables, code, deletions, text boxes, headers and footnotes.

    UnreadableError says when it is encrypted, damaged, too large when unpacked, or holds no words.
    """
    with open_package(data) as package:
        target = _Body(_styles(package), _ordered_lists(package))
        text_xml = package.read("word/document.xml", limit=_MAX_DOCUMENT_BYTES)
        if b"\0" not in text_xml[:4] and text_xml.count(b"<") - text_xml.count(b"</") > _MAX_ELEMENTS + 1000:
            raise UnreadableError(_TOO_MANY)  # seen at once; parsing so many takes seconds
        feed_xml(text_xml, target)
        properties = _properties(package)
    title, blocks = without_title(target.writer.blocks, properties.get("title"))
    text = text_from_blocks(blocks)
    if not num_words(text):
        raise UnreadableError("it contains no text")
    document = make_document(
        name=name,
        text=text,
        title=title or title_from_name(name),
        author=properties.get("creator"),
        date=iso_date(properties.get("created")) or iso_date(properties.get("modified")),
        extraction="docx",
    )
    return Reading(documents=(document,), notes=dict(target.notes))


class _Body:
    """Takes the elements of `word/document.xml` one by one, so that no tree of a giant file is ever held."""

    def __init__(self, styles: Mapping[str, _Style], ordered: Mapping[str, bool]) -> None:
        self.writer = BlockWriter()
        self.notes: Counter[str] = Counter()
        self._styles, self._ordered = styles, ordered
        self._paragraph: _Paragraph | None = None
        self._skip = 0  # how many elements that are left out are open
        self._in_text = False
        self._list = ""
        self._elements = 0

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise UnreadableError("its XML declares a document type, where entities could hide")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._elements += 1
        if self._elements > _MAX_ELEMENTS:
            raise UnreadableError(_TOO_MANY)
        name, is_word = _W.subn("", tag)
        if self._skip or (is_word and (name in _SKIPPED or name == "tbl")) or name.endswith("}Fallback"):
            self._skip += 1
            if name == "tbl" and self._skip == 1:
                self.notes["tables left out"] += 1
            return
        if not is_word:
            return
        if name == "p":
            self._paragraph = _Paragraph()
        elif self._paragraph is not None:
            self._mark(self._paragraph, name, next((v for k, v in attributes.items() if k.endswith("}val")), ""))

    def _mark(self, paragraph: _Paragraph, name: str, value: str) -> None:
        if name == "pStyle":
            paragraph.style = value
        elif name == "outlineLvl" and value.isdecimal():
            paragraph.heading = int(value) + 1
        elif name == "numId":
            paragraph.numbering = value
        elif name == "ilvl" and value.isdecimal():
            paragraph.level = min(int(value), 8)
        elif name in {"br", "cr"}:
            paragraph.text.append("\n")
        elif name in {"tab", "noBreakHyphen"}:
            paragraph.text.append(" " if name == "tab" else "-")
        elif name == "t":
            self._in_text = True

    def data(self, text: str) -> None:
        if self._in_text and self._paragraph is not None:
            self._paragraph.text.append(text)

    def end(self, tag: str) -> None:
        if self._skip:
            self._skip -= 1
            return
        name = _W.sub("", tag)
        if name == "t":
            self._in_text = False
        elif name == "p" and self._paragraph is not None:
            self._write(self._paragraph)
            self._paragraph = None

    def close(self) -> None:
        self._leave_list()
        self.writer.close_lines()

    def _write(self, paragraph: _Paragraph) -> None:
        style = self._styles.get(paragraph.style, _Style())
        text = "".join(paragraph.text).strip()
        if not text:
            return
        if style.kind == "code":
            self.notes["code blocks left out"] += 1
            return
        numbering = paragraph.numbering if paragraph.numbering != "0" else ""
        heading = style.heading or (paragraph.heading if paragraph.heading < 7 else 0)
        if not heading and (numbering or style.kind in {"list", "number"}):
            ordered = self._ordered.get(numbering, False) if numbering else style.kind == "number"
            key = f"{numbering or paragraph.style}/{ordered}"
            if key != self._list:
                self._leave_list()
                self.writer.open_list(start=int(ordered))
                self._list = key
            self.writer.open_item()
            self.writer.paragraph(text)
            return
        self._leave_list()
        if heading:
            self.writer.heading(heading, text)
        elif style.kind == "quote":
            self.writer.open_quote()
            self.writer.paragraph(text)
            self.writer.close_quote()
        else:
            self.writer.paragraph(text)

    def _leave_list(self) -> None:
        if self._list:
            self.writer.close_list()
            self._list = ""


def _styles(package: Package) -> dict[str, _Style]:
    """Styles by id: by what they are called, else by what they are based on."""
    if "word/styles.xml" not in package:
        return {}
    found: dict[str, _Style] = {}
    for element in read_xml(package.read("word/styles.xml")).iterchildren("{*}style"):
        id = _value(element, "styleId")
        label = _value(element.find("{*}name")) or id
        style = _named(label)
        level = _value(element.find("{*}pPr/{*}outlineLvl"))
        if not style.heading and level.isdecimal() and int(level) < 6:
            style.heading = int(level) + 1
        style.based_on = _value(element.find("{*}basedOn"))
        found[id] = style
    for style in found.values():
        parent, hops = style.based_on, 0
        while not (style.heading or style.kind) and parent in found and hops < 10:
            style.heading, style.kind = found[parent].heading, found[parent].kind
            parent, hops = found[parent].based_on, hops + 1
    return found


def _named(label: str) -> _Style:
    low = label.lower()
    if match := _HEADING.match(re.sub(r"(?<=[a-z])(?=[1-9A-F]$)", " ", label)):
        mark = match[1].lower()
        return _Style(heading=min(int(mark) if mark.isdecimal() else "abcdef".index(mark) + 2, 6))
    if low in {"title", "titel", "titre"} or low.replace(" ", "") in {"chaptertitle", "parttitle"}:
        return _Style(heading=1)
    if re.search(r"list(?!ing|e)", low) and "paragraph" not in low:
        return _Style(kind="number" if "number" in low else "list")
    if "quote" in low:
        return _Style(kind="quote")
    return _Style(kind="code" if _CODE.search(low) and "caption" not in low else "")


def _ordered_lists(package: Package) -> dict[str, bool]:
    """Whether each numbering (by its number) counts, or has bullets."""
    if "word/numbering.xml" not in package:
        return {}
    root = read_xml(package.read("word/numbering.xml"))
    counts: dict[str, bool] = {}
    for element in root.iterchildren("{*}abstractNum"):
        counts[_value(element, "abstractNumId")] = _value(element.find("{*}lvl/{*}numFmt")) not in {"bullet", "none", ""}
    return {
        _value(element, "numId"): counts.get(_value(element.find("{*}abstractNumId")), False)
        for element in root.iterchildren("{*}num")
    }


def _properties(package: Package) -> dict[str, str]:
    if "docProps/core.xml" not in package:
        return {}
    found: dict[str, str] = {}
    for element in read_xml(package.read("docProps/core.xml")):
        text = " ".join((element.text or "").split()) if isinstance(element.tag, str) else ""
        if text:
            found[element.tag.rpartition("}")[2]] = text
    return found


def _value(element: object, attribute: str = "val") -> str:
    items = element.items() if element is not None and hasattr(element, "items") else ()
    return next((str(value) for key, value in items if key.rpartition("}")[2] == attribute), "")


READER = Reader(kind="docx", read=read_docx, member="word/document.xml", promises={".docx": "Word file"})
