"""RTF files to documents: paragraphs, headings and lists, without pictures, tables, notes, headers, comments and hidden text.

A reader of our own, because the libraries that there are give one run of text: no headings, no lists, no title, author or date.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace

from tunesmith.data.ingest.article import article
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.line_reader import ListLevels
from tunesmith.data.ingest.metadata import stated_metadata
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import Block

__all__ = ["READER", "read_rtf"]

_TOKEN = re.compile(r"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\(.)|([{}])|[\r\n]+|([^\\{}\r\n]+)", re.DOTALL)
_DROPPED_TEXT = """
fonttbl colortbl pict object header headerl headerr headerf footer footerl footerr footerf themedata colorschememapping
datastore listtable listoverridetable rsidtbl generator xmlnstbl latentstyles fldinst shpinst nonshppict bkmkstart bkmkend
annotation atnid atnauthor atndate atnref filetbl revtbl userprops doccomm operator keywords comment subject category hlinkbase
mmathPr pgptbl private template xe tc rxe do upr
"""
_DROPPED = frozenset(_DROPPED_TEXT.split())
_NOTES = frozenset(["footnote", "ftnsep", "ftnsepc", "aftnsep", "aftnsepc"])
_SAID = frozenset(["title", "author"])
_CHARACTERS = {"emdash": "—", "endash": "–", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "bullet": "•"}
_CHARACTERS |= {"tab": " ", "line": "\n", "lbr": "\n", "emspace": " ", "enspace": " ", "qmspace": " "}
_SYMBOLS = {"~": " ", "_": "-", "\\": "\\", "{": "{", "}": "}"}
_CHARSETS = {128: "cp932", 129: "cp949", 134: "cp936", 136: "cp950", 161: "cp1253", 162: "cp1254", 177: "cp1255", 178: "cp1256"}
_CHARSETS |= {186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250", 77: "mac_roman"}
_HEADING = re.compile(r"(?:heading|überschrift|titre|head) ?([1-6])$", re.IGNORECASE)
_STYLE = re.compile(r"\{(?:\\\*)?\\s(\d{1,6})\b([^{}]{0,2000})")
_FONT = re.compile(r"\\f(\d{1,6})\\[^{};]{0,200}?\\fcharset(\d{1,3})")
_CODE_STYLE = re.compile(r"code|preformatted|listing|source", re.IGNORECASE)
_MAX_BYTES = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Group:
    """What holds inside a group: whether its text is left out, collected (`title`), how many characters `\\u` replaces."""

    dropped: bool = False
    collects: str = ""
    fallback: int = 1
    encoding: str = "cp1252"
    hidden: bool = False


@dataclass(slots=True)
class _Paragraph:
    """The formatting of the paragraph being read; `\\pard` begins a plain one."""

    heading: int = 0
    style: str = ""
    in_table: bool = False
    in_list: bool = False
    marker: str = ""
    words: list[str] = field(default_factory=list)


def read_rtf(data: bytes, *, name: str) -> Reading:
    """One document from one file, with the title, author and date that it states. UnreadableError if it holds no words."""
    if len(data) > _MAX_BYTES:
        raise UnreadableError("it is an RTF file of more than 100 MB; save it without its pictures")
    text = data.decode("latin-1")
    if text.count("{") - text.count("\\{") > text.count("}") - text.count("\\}"):
        raise UnreadableError("it is cut: groups in it never end")
    reader = _Rtf(text)
    blocks = reader.read()
    metadata = stated_metadata(reader.stated, name)
    return article(blocks, metadata=metadata, name=name, extraction="rtf", notes=reader.notes)


class _Rtf:
    """Reads the tokens of one file."""

    def __init__(self, text: str) -> None:
        self.notes: Counter[str] = Counter()
        self.stated: dict[str, str] = {}
        self._text = text
        self._writer = BlockWriter()
        self._group = _Group()
        self._groups: list[_Group] = []
        self._paragraph = _Paragraph()
        self._bytes = bytearray()
        self._skip = 0  # characters that stand for what `\u` has said already
        self._starred = False
        self._day: dict[str, int] = {}
        self._lists = ListLevels(self._writer)
        self._table_open = False
        self._styles = {number: said.rpartition(";")[0].rpartition("  ")[2] for number, said in _STYLE.findall(text[:500_000])}
        self._styles = {number: re.sub(r".*\\\w+-?\d* ?", "", said).strip() for number, said in self._styles.items()}
        self._fonts = {number: _CHARSETS.get(int(charset), "") for number, charset in _FONT.findall(text[:500_000])}

    def read(self) -> list[Block]:
        """The blocks of the file."""
        position = 0
        while token := _TOKEN.match(self._text, position):
            position = token.end()
            word, number, byte, symbol, brace, text = token.groups()
            if byte is None:
                self._decode()
            if word is not None:
                if word == "bin":
                    position += max(0, int(number or 0))
                self._word(word, number)
            elif byte is not None:
                self._byte(int(byte, 16))
            elif symbol is not None:
                self._symbol(symbol)
            elif brace is not None:
                self._brace(brace)
            elif text is not None:
                self._say(text)
        self._decode()
        self._end_paragraph()
        self._lists.close()
        self._writer.close_lines()
        return self._writer.blocks

    def _brace(self, brace: str) -> None:
        self._skip = 0
        if brace == "{":
            self._groups.append(self._group)
            return
        if self._group.collects == "date" and len(self._day) == 3:
            self.stated.setdefault("date", "{yr:04}-{mo:02}-{dy:02}".format(**self._day))
        if self._groups:
            self._group = self._groups.pop()

    def _symbol(self, symbol: str) -> None:
        if symbol == "*":
            self._starred = True
        elif symbol in "\r\n":
            self._end_paragraph()
        elif symbol in _SYMBOLS:
            self._say(_SYMBOLS[symbol])

    def _word(self, word: str, number: str | None) -> None:
        starred, self._starred = self._starred, False
        value = int(number) if number is not None else None
        if self._destination(word, starred=starred) or self._group.dropped:
            return
        if word == "u" and value is not None:
            self._say(chr(value % 65536))
            self._skip = self._group.fallback
        elif word in _CHARACTERS:
            self._say(_CHARACTERS[word])
        elif word in {"par", "sect", "page", "nestcell", "cell", "row"}:
            self._end_paragraph(is_row=word == "row")
        elif word in {"yr", "mo", "dy"} and self._group.collects == "date":
            self._day[word] = value or 0
        else:
            self._format(word, value)

    def _destination(self, word: str, *, starred: bool) -> bool:
        """Whether the word says what its group is for; text of most such groups is not the author's."""
        if word in {"listtext", "pntext"}:
            self._paragraph.in_list = True
            self._group = replace(self._group, collects="marker")
        elif word in _SAID:
            self._group = replace(self._group, collects=word, dropped=False)
        elif word == "creatim":
            self._group = replace(self._group, collects="date", dropped=False)
        elif word in _NOTES or word in _DROPPED or word == "stylesheet" or (starred and word != "shppict"):
            self.notes["footnotes left out"] += word == "footnote" and not self._group.dropped
            self._group = replace(self._group, dropped=True)
        elif word == "info":
            self._group = replace(self._group, collects="info")
        else:
            return False
        return True

    def _format(self, word: str, value: int | None) -> None:
        paragraph = self._paragraph
        if word == "pard":
            if self._group.collects != "marker":  # a marker has formatting of its own
                self._paragraph = _Paragraph(words=paragraph.words)
        elif word == "s":
            paragraph.style = self._styles.get(str(value), "")
        elif word == "outlinelevel":
            paragraph.heading = (value or 0) + 1 if (value or 0) < 6 else 0
        elif word == "intbl":
            paragraph.in_table = True
        elif word in {"v", "deleted"}:
            self._group = replace(self._group, hidden=value != 0)
        elif word == "plain":
            self._group = replace(self._group, hidden=False)
        elif word == "uc":
            self._group = replace(self._group, fallback=max(0, value or 0))
        elif word == "ansicpg" or (word == "f" and value is not None):
            encoding = f"cp{value}" if word == "ansicpg" else self._fonts.get(str(value), "")
            self._group = replace(self._group, encoding=encoding or self._group.encoding)

    def _byte(self, byte: int) -> None:
        if self._skip:
            self._skip -= 1
        else:
            self._bytes.append(byte)

    def _decode(self) -> None:
        if self._bytes:
            data, self._bytes = bytes(self._bytes), bytearray()
            try:
                self._say(data.decode(self._group.encoding))
            except (UnicodeDecodeError, LookupError):
                self._say(data.decode("cp1252", "replace"))

    def _say(self, text: str) -> None:
        if self._skip:
            passed = min(self._skip, len(text))
            self._skip -= passed
            text = text[passed:]
        group = self._group
        if group.dropped or group.hidden or not text or group.collects in {"info", "date"}:
            return
        if group.collects == "marker":
            self._paragraph.marker += text
        elif group.collects:
            self.stated[group.collects] = self.stated.get(group.collects, "") + text
        else:
            self._paragraph.words.append(text)

    def _end_paragraph(self, *, is_row: bool = False) -> None:
        if self._group.dropped:
            return
        paragraph = self._paragraph
        text = "".join(paragraph.words).encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()
        self._paragraph = replace(paragraph, words=[], marker="", in_list=False)
        if paragraph.in_table or is_row:
            self.notes["tables left out"] += not self._table_open
            self._table_open = True
            return
        self._table_open = self._table_open and not text
        if text:
            self._write(paragraph, text)

    def _write(self, paragraph: _Paragraph, text: str) -> None:
        level = paragraph.heading
        if named := _HEADING.match(paragraph.style):
            level = int(named[1])
        elif paragraph.style.lower() in {"title", "titel", "titre"}:
            level = 1
        if paragraph.in_list and not level:
            number = re.match(r"\s*\(?(\d{1,6})[.)]", paragraph.marker)
            self._lists.item(0, number=int(number[1]) if number else 0)
            self._writer.paragraph(text)
            return
        self._lists.close()
        if level:
            self._writer.heading(level, text)
        elif _CODE_STYLE.search(paragraph.style):
            self.notes["code blocks left out"] += 1
        elif "quot" in paragraph.style.lower():
            self._writer.open_quote()
            self._writer.paragraph(text)
            self._writer.close_quote()
        else:
            self._writer.paragraph(text)


READER = Reader(
    kind="rtf", read=read_rtf, first_bytes=lambda data: data.lstrip()[:5] == b"{\\rtf", promises={".rtf": "RTF document"}
)
