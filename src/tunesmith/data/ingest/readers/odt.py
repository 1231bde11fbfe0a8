"""OpenDocument texts (ODT, flat FODT) to documents: headings, paragraphs, lists and quotes of the body."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from lxml import etree

from tunesmith.data.ingest.article import article
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.metadata import stated_metadata
from tunesmith.data.ingest.package import feed_xml, is_zip, open_package, read_xml
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.decode import UnreadableError

__all__ = ["READER", "read_odt"]

_TEXT_TYPE = "application/vnd.oasis.opendocument.text"
_SKIPPED_TEXT = """
tracked-changes annotation annotation-end frame table-of-content illustration-index table-index object-index user-index
alphabetical-index bibliography forms scripts sequence-decls variable-decls user-field-decls ruby-text note hidden-text
hidden-paragraph custom-shape object settings font-face-decls master-styles note-ref event-listeners
"""
_SKIPPED = frozenset(_SKIPPED_TEXT.split())
_STATED = {"title": "title", "initial-creator": "author", "creator": "author", "creation-date": "date", "date": "date"}
_STATED |= {"language": "language"}
_MAX_ELEMENTS = 1_000_000
_MAX_BYTES = 50 * 1024 * 1024


def read_odt(data: bytes, *, name: str) -> Reading:
    """One document from one file: body text only, without tables, code, deletions, frames, notes and comments.

    UnreadableError says when it is encrypted, damaged, too large when unpacked, no text document, or holds no words.
    """
    body = _Body()
    if is_zip(data):
        with open_package(data) as package:
            kind = package.read("mimetype", limit=1000).decode("latin-1").strip() if "mimetype" in package else _TEXT_TYPE
            if not kind.startswith(_TEXT_TYPE):
                raise UnreadableError(f"OpenDocument files of the kind {kind.rpartition('.')[2]} are not read yet")
            if b"encryption-data" in package.read("META-INF/manifest.xml"):
                raise UnreadableError("it is encrypted with a password")
            for part in ("meta.xml", "styles.xml"):
                if part in package:
                    body.read_small(read_xml(package.read(part)))
            data = package.read("content.xml", limit=_MAX_BYTES)
    if len(data) > _MAX_BYTES or data.count(b"<") - data.count(b"</") > _MAX_ELEMENTS + 1000:
        raise UnreadableError("it has more than 50 MB or a million elements")
    feed_xml(data, body)
    metadata = stated_metadata(body.stated, name)
    return article(body.writer.blocks, metadata=metadata, name=name, extraction="odt", notes=body.notes)


class _Body:
    """Takes the elements of `content.xml` one by one, so that no tree of a giant file is ever held."""

    def __init__(self) -> None:
        self.writer = BlockWriter()
        self.notes: Counter[str] = Counter()
        self.stated: dict[str, str] = {}
        self._parents: dict[str, str] = {}  # of paragraph styles
        self._ordered: dict[str, bool] = {}  # of list styles: whether their first level counts
        self._list_style = ""  # the one being defined
        self._lists: list[bool] = []
        self._skip = 0  # how many elements that are left out are open
        self._in_body = False
        self._collects = ""
        self._level = 0
        self._style = ""
        self._depth = 0  # of paragraphs: text boxes put one into another
        self._words: list[str] = []

    def read_small(self, root: etree._Element) -> None:
        """What `meta.xml` states, and what the styles of `styles.xml` are based on."""
        for element in root.iter():
            if isinstance(element.tag, str):
                name = element.tag.rpartition("}")[2]
                self._note(name, _attributes(element.attrib))
                if name in _STATED and element.text and element.text.strip():
                    self.stated.setdefault(_STATED[name], element.text.strip())

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise UnreadableError("its XML declares a document type, where entities could hide")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name, values = tag.rpartition("}")[2], _attributes(attributes)
        if self._skip or name in _SKIPPED or name == "table" or (name == "section" and values.get("display") == "none"):
            if not self._skip:
                self.notes["tables left out"] += name == "table"
                self.notes["footnotes left out"] += name == "note"
            self._skip += 1
        elif not self._in_body:
            self._in_body = name == "body"
            self._note(name, values)
            self._collects = _STATED.get(name, "")
        else:
            self._open(name, values)

    def _note(self, name: str, values: Mapping[str, str]) -> None:
        """Styles: of paragraphs what they are based on, of lists whether they count."""
        if name == "style" and values.get("family", "paragraph") == "paragraph":
            self._parents[values.get("name", "")] = values.get("parent-style-name", "")
        elif name == "list-style":
            self._list_style = values.get("name", "")
        elif name == "list-level-style-number" and values.get("level") == "1":
            self._ordered[self._list_style] = True

    def _open(self, name: str, values: Mapping[str, str]) -> None:
        if name in {"p", "h"}:
            self._depth += 1
            self._style = values.get("style-name", "")
            level = values.get("outline-level", "1") if name == "h" else "0"
            self._level = min(int(level), 6) if level.isdecimal() else 1
        elif name == "list":
            style = values.get("style-name", "")
            ordered = self._ordered.get(style, self._lists[-1] if self._lists and not style else False)
            self._lists.append(ordered)
            self.writer.open_list(start=int(ordered))
        elif name in {"list-item", "list-header"}:
            self.writer.open_item()
        elif name == "line-break":
            self._words.append("\n")
        elif name in {"s", "tab"}:
            self._words.append(" ")

    def data(self, text: str) -> None:
        if self._skip:
            return
        if self._depth:
            self._words.append(" ".join(f".{text}.".split())[1:-1])
        elif self._collects and not self._in_body and text.strip():
            self.stated.setdefault(self._collects, text.strip())

    def end(self, tag: str) -> None:
        name = tag.rpartition("}")[2]
        if self._skip:
            self._skip -= 1
        elif not self._in_body:
            self._collects = ""
        elif name in {"p", "h"} and self._depth:
            self._depth -= 1
            self._write("".join(self._words))
            self._words = []
        elif name == "list" and self._lists:
            self._lists.pop()
            self.writer.close_list()
        elif name == "body":
            self._in_body = False

    def close(self) -> None:
        self.writer.close_lines()

    def _write(self, text: str) -> None:
        kind = self._kind()
        if not text.strip():
            return
        if self._level or kind == "title":
            self.writer.heading(self._level or 1, text)
        elif kind == "code":
            self.notes["code blocks left out"] += 1
        elif kind == "quote":
            self.writer.open_quote()
            self.writer.paragraph(text)
            self.writer.close_quote()
        else:
            self.writer.paragraph(text)

    def _kind(self) -> str:
        """What the style of the paragraph, or one that it is based on, is called."""
        style, known = self._style, 0
        while style and known < 10:
            low = style.lower()
            if "quot" in low:
                return "quote"
            if "preformatted" in low or "source_20_code" in low or low in {"code", "listing"}:
                return "code"
            if low in {"title", "titel", "titre"}:
                return "title"
            style, known = self._parents.get(style, ""), known + 1
        return ""


def _attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    return {str(key).rpartition("}")[2]: str(value) for key, value in attributes.items()}


READER = Reader(
    kind="odt",
    read=read_odt,
    member="META-INF/manifest.xml",
    suffixes=frozenset([".fodt"]),
    promises={".odt": "OpenDocument text", ".ott": "OpenDocument text"},
)
