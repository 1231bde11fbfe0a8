"""AsciiDoc to documents: sections, paragraphs, lists and quotes, without code, tables, images, footnotes and includes."""

from __future__ import annotations

import re
from collections import Counter

from tunesmith.data.ingest.article import article
from tunesmith.data.ingest.asciidoc_inline import plain_asciidoc
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.front_matter import read_front_matter
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.line_reader import ListLevels, newlines
from tunesmith.data.ingest.metadata import iso_date, stated_metadata
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.prose import Block

__all__ = ["READER", "read_asciidoc"]

_TITLE = re.compile(r"(={1,6}|#{1,6})[ \t]+(\S.*?)(?:[ \t]+\1)?$")
_ATTRIBUTE = re.compile(r":(!?)([\w][\w-]*)(!?):(?:[ \t]+(.*))?$")
_AUTHOR = re.compile(r"[^\W\d_][\w.'’-]*(?: [\w.'’-]+){1,3}(?: <[^<>\s]+>)?(?:; ?[^\W\d_][\w.'’ -]+(?: <[^<>\s]+>)?)*$")
_REVISION = re.compile(r"(?:v?\d[\w.]*,[ \t]*)?(\d{4}-\d{2}-\d{2}|\w+ \d{1,2}, \d{4}|\d{1,2} \w+ \d{4})(?:[:,].*)?$|v\d[\w.]*$")
_STYLE = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]$|\[\[[^\[\]]+\]\]$")
_MACRO = re.compile(r"[A-Za-z][\w-]*::(?:[^\s\[]\S*?)?\[.*\]$")
_ITEM = re.compile(r"[ \t]*(\*{1,5}|-|\.{1,5}|(\d{1,9})\.|[a-z]\.)[ \t]+(?:\[[ xX*]\][ \t]+)?(\S.*)$")
_TERM = re.compile(r"[ \t]*(\S.*?)(:{2,4}|;;)(?:[ \t]+(\S.*))?$")
_CALLOUT = re.compile(r"<(?:\d+|\.)>[ \t]")
_ADMONITION = re.compile(r"(?:NOTE|TIP|IMPORTANT|WARNING|CAUTION):[ \t]+")
_FENCE = re.compile(r"(?:(-{4,}|\.{4,}|`{3}|\+{4,}|/{4,})(?:\w+)?|([|,:!]={3,}))$")
_BORDER = re.compile(r"(?:(_{4,})|={4,}|\*{4,}|--|\"\")$")
_UNDERLINES = "=-~^+"
_RULE = re.compile(r"(?:'{3,}|-{3}|\*{3}|<{3,})$")
_CODE_STYLES = frozenset(["source", "listing", "literal", "stem", "latexmath", "asciimath", "comment", "pass", "format"])
_PREFIXES = re.compile(r"^(?:page|jbake|hp|awestruct|article|blog)-")


def read_asciidoc(text: str, *, name: str) -> Reading:
    """One document from one file; title, author, date and draft marks come from its header, or from front matter above it."""
    front, body = read_front_matter(newlines(text), name)
    reader = _AsciiDoc()
    for line in body.split("\n"):
        reader.take(line.rstrip())
    blocks = reader.finish()
    own = stated_metadata(reader.stated, name)
    metadata = own if body == newlines(text) or front == stated_metadata({}, name) else front
    return article(blocks, metadata=metadata, name=name, extraction="asciidoc", notes=reader.notes, is_empty=not text.strip())


class _AsciiDoc:
    """Takes the lines of a file one by one."""

    def __init__(self) -> None:
        self.notes: Counter[str] = Counter()
        self.stated: dict[str, str] = {}
        self._writer = BlockWriter()
        self._lists = ListLevels(self._writer)
        self._markers: list[str] = []  # of the lists that are open
        self._lines: list[str] = []
        self._until = ""  # the delimiter that ends what is being left out
        self._quote = ""  # the delimiter of the quotation that is open
        self._style = ""
        self._literal = False  # inside a paragraph that is code
        self._in_header = self._in_terms = False
        self._attached = False  # a lone `+` joins the next paragraph to the item above

    def take(self, line: str) -> None:
        """One line."""
        if self._until:
            if line == self._until:
                self._until = ""
        elif not line.strip():
            self._end_paragraph()
            self._in_header = self._literal = False
        elif self._literal or line.startswith("//"):
            if line.startswith("////"):
                self._until = line
            elif not self._literal and not self._lines:
                self._end_lists()  # a comment between two lists keeps them apart
        elif not (self._in_header and self._header(line)) and not self._is_border(line) and not self._is_mark(line):
            self._text(line)

    def finish(self) -> list[Block]:
        """The blocks of all lines."""
        self._end_paragraph()
        self._end_lists()
        self._writer.close_lines()
        return self._writer.blocks

    def _header(self, line: str) -> bool:
        """The lines below the title: authors, revision, attributes."""
        if revision := _REVISION.match(line):
            if revision[1] and (day := iso_date(revision[1])):
                self.stated.setdefault("date", day)
            return True
        if "author" not in self.stated and "date" not in self.stated and _AUTHOR.match(line):
            self.stated["author"] = ", ".join(re.sub(r" ?<[^<>]*>", "", line).split("; "))
            return True
        return False

    def _is_border(self, line: str) -> bool:
        """Titles, and the borders of blocks: code, tables and comments are left out, others are looked into."""
        if len(self._lines) == 1 and line[0] in _UNDERLINES and not line.strip(line[0]) and self._is_underline(line):
            (underlined,), self._lines = self._lines, []
            self._title(_UNDERLINES.index(line[0]), underlined)
        elif title := _TITLE.match(line):
            self._title(len(title[1]) - 1, title[2])
        elif fence := _FENCE.match(line):
            self._end_paragraph()
            self._until = line if fence[2] or line[0] != "`" else "```"
            self.notes["tables left out"] += bool(fence[2])
            self.notes["code blocks left out"] += not fence[2] and line[0] not in "/+"
            self._style = ""
        elif border := _BORDER.match(line):
            self._end_paragraph()
            if border[1]:
                self._turn_quote(line)
            elif self._style in _CODE_STYLES:  # any block that is marked as code
                self._until = line
                self.notes["code blocks left out"] += self._style != "comment"
            self._style = ""
        else:
            return False
        return True

    def _is_underline(self, line: str) -> bool:
        return len(line) > 2 and abs(len(line) - len(self._lines[0])) <= 1 and not self._markers

    def _turn_quote(self, delimiter: str) -> None:
        if self._quote == delimiter:
            self._quote = ""
            self._writer.close_quote()
        elif not self._quote:
            self._quote = delimiter
            self._writer.open_quote()

    def _title(self, level: int, text: str) -> None:
        self._end_paragraph()
        self._end_lists()
        self._style = ""
        if level == 0 and not self._writer.blocks and "title" not in self.stated:
            self.stated["title"] = self._plain(text)
            self._in_header = True
        else:
            self._writer.heading(level + 1, self._plain(text))

    def _is_mark(self, line: str) -> bool:
        """Lines that are no text: attributes, styles of the next block, captions, macros, rules."""
        if attribute := _ATTRIBUTE.match(line):
            key, is_unset = _PREFIXES.sub("", attribute[2].lower()), bool(attribute[1] or attribute[3])
            self.stated[{"revdate": "date"}.get(key, key)] = "false" if is_unset else (attribute[4] or "true").strip()
        elif self._lines and not (line == "+" or _STYLE.match(line)):
            return False
        elif style := _STYLE.match(line):
            self._end_paragraph()
            self._style = re.split(r"[,#.%]", (style[1] or "").strip(), maxsplit=1)[0].lower()
        elif line == "+":
            self._end_paragraph()
            self._attached = True
        elif not (_MACRO.match(line) or _RULE.match(line) or _CALLOUT.match(line)) and not re.match(r"\.[^\s.]", line):
            return self._is_literal(line)
        return True

    def _is_literal(self, line: str) -> bool:
        """Paragraphs that are code: indented outside of lists, or of a style of code."""
        indented = line[0].isspace() and not self._markers and not _ITEM.match(line)
        if indented or self._style in _CODE_STYLES:
            self.notes["code blocks left out"] += 1
            self._literal, self._style = True, ""
        return self._literal

    def _text(self, line: str) -> None:
        if item := _ITEM.match(line):
            self._end_paragraph()
            self._item(item[1], item[3])
        elif (term := _TERM.match(line)) and (not self._lines or self._markers or self._in_terms):
            self._end_paragraph()
            self._end_lists()
            self._in_terms = True
            self._lines.append(f"{term[1]}: {term[3]}" if term[3] else term[1])
        else:
            if not self._lines and not self._attached:
                self._end_lists()
            self._attached = False
            self._lines.append(_ADMONITION.sub("", line) if not self._lines else line)

    def _item(self, marker: str, text: str) -> None:
        """A marker that is open goes on with its list; a new one begins a list inside."""
        kind = re.sub(r"\d+|[a-z]", "1", marker)
        if kind in self._markers:
            del self._markers[self._markers.index(kind) + 1 :]
        else:
            self._markers.append(kind)
        self._lists.item(len(self._markers), number=int(kind[0] not in "*-"))
        self._lines.append(text)

    def _end_lists(self) -> None:
        self._lists.close()
        self._markers = []

    def _end_paragraph(self) -> None:
        if not self._lines:
            return
        text = self._plain("\n".join(self._lines))
        quoted = self._style in {"quote", "verse"} and not self._quote
        self._lines, self._style, self._in_terms = [], "", False
        if quoted:
            self._writer.open_quote()
        self._writer.paragraph(text)
        if quoted:
            self._writer.close_quote()

    def _plain(self, text: str) -> str:
        plain, footnotes = plain_asciidoc(text, self.stated)
        self.notes["footnotes left out"] += footnotes
        return plain


READER = Reader(kind="asciidoc", read_text=read_asciidoc, suffixes=frozenset([".adoc", ".asciidoc"]))
