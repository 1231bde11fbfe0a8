"""Textile to documents: headings, paragraphs, lists and quotes, without code, tables, images and footnotes."""

from __future__ import annotations

import re
from collections import Counter

from tunesmith.data.ingest.article import article
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.front_matter import read_front_matter
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.line_reader import MAX_INLINE, ListLevels, newlines
from tunesmith.data.ingest.markdown_rules import without_templates
from tunesmith.data.ingest.markup import fragment_blocks
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.prose import Block

_MARKUP = re.compile(r"[*_=~+/^%!@#?`<>(){}\[\]|\\\"'-]")
__all__ = ["READER", "read_textile"]

_STYLE = r"(?:\([^()\n]{0,80}\)|\{[^{}\n]{0,200}\}|\[[\w-]{0,12}\]|[<>=]{1,2}){0,4}"
_BLOCK = re.compile(rf"(h[1-6]|p|bq|bc|pre|notextile|fn\d{{1,3}}|clear|###){_STYLE}(\.{{1,2}})(?::\S+)?(?: |$)")
_ITEM = re.compile(rf"([*#]{{1,8}}){_STYLE} (\S.*)$")
_TABLE = re.compile(rf"(?:table{_STYLE}\.|\|.*\|[ \t]*$)")
_HTML = re.compile(
    r"[ \t]*</?(?:p|div|ul|ol|li|blockquote|h[1-6]|table|pre|code|script|style|figure|iframe|br|hr)\b", re.IGNORECASE
)
_LINK = re.compile(r'\[?"(?=\S)([^"\n]{1,500}?)(?:\([^()"\n]{0,200}\))?":[^\s\]"]{1,1000}?(?=[\s.,;:!?)\]]*(?:\s|$)|\])\]?')
_IMAGE = re.compile(r"(?<!\w)!(?=[^\s!])[^\s!]{1,1000}(?:\([^()\n]{0,200}\))?!(?::\S{1,1000})?")
_CODE = re.compile(r"(?<!\w)@(?=\S)([^@\n]{1,300}?)@(?!\w)|==([^=\n]{1,500})==")
_SPAN = re.compile(rf"(?<![\w])(\*\*|__|\?\?|[*_%+^~])(?=\S){_STYLE}([^\n]{{1,300}}?)(?<=\S)\1(?!\w)")
_DELETED = re.compile(r"(?<![\w-])-(?=[^\s-])[^\n-]{1,300}(?<=\S)-(?![\w-])")
_MARK = re.compile(r"(?<=\S)\[\d{1,3}\]")
_ACRONYM = re.compile(r"\b([A-Z]{2,12})\([^()\n]{1,200}\)")


def read_textile(text: str, *, name: str) -> Reading:
    """One document from one file, with the front matter of its site generator."""
    metadata, body = read_front_matter(newlines(text), name)
    reader = _Textile()
    for part in re.split(r"\n[ \t]*\n", without_templates(body)):
        reader.take(part.strip("\n"))
    blocks = reader.finish()
    return article(blocks, metadata=metadata, name=name, extraction="textile", notes=reader.notes, is_empty=not body.strip())


class _Textile:
    """Takes the parts of a file between blank lines."""

    def __init__(self) -> None:
        self.notes: Counter[str] = Counter()
        self._writer = BlockWriter()
        self._lists = ListLevels(self._writer)
        self._extended = ""  # `bc..` and `bq..` hold until the next block of a name

    def take(self, part: str) -> None:
        """One part."""
        block = _BLOCK.match(part)
        if block:
            self._extended = block[1] if block[2] == ".." else ""
        kind = block[1] if block else self._extended
        text = part[block.end() :] if block else part
        self._lists.close()
        if kind in {"bc", "pre"} or re.match(r"<(?:pre|code)\b", text):
            self.notes["code blocks left out"] += bool(block) or not self._extended
        elif kind.startswith("fn"):
            self.notes["footnotes left out"] += 1
        elif kind in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            self._writer.heading(int(kind[1]), _plain(text))
        elif kind == "bq":
            self._writer.open_quote()
            self._writer.paragraph(_plain(text))
            self._writer.close_quote()
        elif not block and _HTML.match(text):
            self._writer.extend(fragment_blocks(text, self.notes))
        elif kind not in {"###", "clear"}:
            self._lines(text)

    def finish(self) -> list[Block]:
        """The blocks of all parts."""
        self._lists.close()
        self._writer.close_lines()
        return self._writer.blocks

    def _lines(self, text: str) -> None:
        is_list = bool(_ITEM.match(text.split("\n", 1)[0]))
        if _TABLE.match(text.split("\n", 1)[0]):
            self.notes["tables left out"] += 1
            return
        lines: list[str] = []
        for line in text.split("\n"):
            if is_list and (item := _ITEM.match(line)):
                self._paragraph(lines)
                lines = [item[2]]
                self._lists.item(len(item[1]), number=int(item[1][-1] == "#"))
            else:
                lines.append(line.strip())
        self._paragraph(lines)

    def _paragraph(self, lines: list[str]) -> None:
        if lines:
            self._writer.paragraph(_plain("\n".join(lines)))


def _plain(text: str) -> str:
    """Inline markup to the words that are shown."""
    if len(text) > MAX_INLINE or not _MARKUP.search(text):
        return text
    text = _LINK.sub(r"\1", _IMAGE.sub("", text))
    text = _DELETED.sub("", _CODE.sub(r"\1\2", text))
    for _ in range(3):  # one inside the other
        text, changed = _SPAN.subn(r"\2", text)
        if not changed:
            break
    text = _ACRONYM.sub(r"\1", _MARK.sub("", text))
    return "\n".join(block.text for block in fragment_blocks(text.replace("\n", "<br>"))) if "<" in text else text


READER = Reader(kind="textile", read_text=read_textile, suffixes=frozenset([".textile"]))
