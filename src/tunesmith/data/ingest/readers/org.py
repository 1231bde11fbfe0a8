"""Org files to documents: headlines, paragraphs, lists and quotes, without code, tables, drawers, planning and footnotes."""

from __future__ import annotations

import re
from collections import Counter

from tunesmith.data.ingest.article import article
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.line_reader import MAX_INLINE, ListLevels, newlines
from tunesmith.data.ingest.metadata import stated_metadata
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.prose import Block

_MARKUP = re.compile(r"[*_=~+/^%!@#?`<>(){}\[\]|\\\"'-]")
__all__ = ["READER", "read_org"]

_KEYWORD = re.compile(r"[ \t]*#\+([A-Za-z_]+(?:\[[^\]]*\])?):[ \t]*(.*)$")
_BEGIN = re.compile(r"[ \t]*#\+begin(?:_(\S+)|:)", re.IGNORECASE)
_HEADLINE = re.compile(r"(\*+)[ \t]+(.*)$")
_TAGS = re.compile(r"[ \t]+:([\w@#%:]+):[ \t]*$")
_STATES = ("TODO", "DONE", "NEXT", "WAITING", "WAIT", "HOLD", "CANCELLED", "CANCELED", "STARTED", "SOMEDAY", "DRAFT")
_PRIORITY = re.compile(r"\[#[A-Z0-9]\][ \t]*")
_PLANNING = re.compile(r"[ \t]*(?:SCHEDULED|DEADLINE|CLOSED|CLOCK):")
_DRAWER = re.compile(r"[ \t]*:[\w-]+:[ \t]*$")
_DRAWER_END = re.compile(r"[ \t]*:END:[ \t]*$", re.IGNORECASE)
_ITEM = re.compile(r"([ \t]*)(?:([-+]|(?<=[ \t])\*)|(\d{1,9}|[A-Za-z])[.)])(?:[ \t]+(.*)|$)")
_ITEM_HEAD = re.compile(r"(?:\[@\w+\][ \t]*)?(?:\[[ xX-]\][ \t]+)?")
_FOOTNOTE = re.compile(r"\[fn:[^\]\s]{1,60}\](?:[ \t]|$)")
_RULE = re.compile(r"[ \t]*-{5,}[ \t]*$")
_CODE_BLOCKS = frozenset(["src", "example"])
_DROPPED_BLOCKS = frozenset(["comment", "export", "html", "latex", "ascii", "dynamic"])
_QUOTES = frozenset(["quote", "verse"])
_NEVER_EXPORTED = frozenset(["noexport", "archive", "ignore"])
_IMAGE = re.compile(r"\.(?:png|jpe?g|gif|webp|svg|avif|pdf|mp4|mp3)$", re.IGNORECASE)
_DELETED = re.compile(
    r"\[fn:(?:[^\[\]\s]{1,60}|[^\[\]\s]{0,60}:[^\[\]]{0,2000})\]|\{\{\{[^{}]{1,500}\}\}\}|@@\w+:.{0,500}?@@"
    r"|\[cite[^\]\s]{0,40}:[^\]]{1,500}\]|<<<?[^<>\n]{1,200}>>>?|[<\[]\d{4}-\d{2}-\d{2}(?: [^<>\[\]\n]{0,40})?[>\]]"
    r"|\bsrc_\w+(?:\[[^\]]{0,200}\])?\{[^{}]{0,500}\}|\\\\[ \t]*$",
    re.MULTILINE,
)
_LINK = re.compile(r"\[\[([^\[\]]{1,2000})\](?:\[([^\[\]]{1,2000})\])?\]")
_EMPHASIS = re.compile(r"(?<![^\s\-('\"{—])([*/_=~+])(?=\S)([^\n]{1,300}?)(?<=\S)\1(?![^\s\-.,:!?;'\")}\[—])")
_ENTITY = re.compile(r"\\(nbsp|ndash|mdash|hellip|shy|amp|lt|gt|auml|ouml|uuml|szlig)(?:\{\}|\b)")
_ENTITIES = {"nbsp": " ", "ndash": "–", "mdash": "—", "hellip": "…", "shy": "", "amp": "&", "lt": "<", "gt": ">"} | {
    "auml": "ä",
    "ouml": "ö",
    "uuml": "ü",
    "szlig": "ß",
}


def read_org(text: str, *, name: str) -> Reading:
    """One document from one file; title, author, date, language and draft marks come from its `#+KEYWORDS`.

    Headlines that are never exported (`COMMENT`, `:noexport:`, `:ARCHIVE:`) are left out with all that is below them.
    """
    body = _Org()
    for line in newlines(text).split("\n"):
        body.take(line)
    blocks = body.finish()
    stated = {key: _plain(value) if key == "title" else value for key, value in body.stated.items()}
    metadata = stated_metadata(stated, name)
    return article(blocks, metadata=metadata, name=name, extraction="org", notes=body.notes, is_empty=not text.strip())


class _Org:
    """Takes the lines of a file one by one."""

    def __init__(self) -> None:
        self.notes: Counter[str] = Counter()
        self.stated: dict[str, str] = {}
        self._writer = BlockWriter()
        self._lists = ListLevels(self._writer)
        self._lines: list[str] = []
        self._states = set(_STATES)
        self._until = ""  # the line that ends what is being left out, in lower case
        self._hidden = 0  # level of the headline that is never exported; 0 outside of one
        self._in_table = self._in_fixed = self._in_footnote = False

    def take(self, line: str) -> None:
        """One line."""
        if self._until:
            if line.strip().lower() == self._until:
                self._until = ""
        elif headline := _HEADLINE.match(line):
            self._headline(len(headline[1]), headline[2])
        elif not self._hidden and not self._is_left_out(line):
            self._text(line)

    def finish(self) -> list[Block]:
        """The blocks of all lines."""
        self._end_paragraph()
        self._lists.close()
        self._writer.close_lines()
        return self._writer.blocks

    def _headline(self, level: int, text: str) -> None:
        if self._hidden and level > self._hidden:
            return
        self._end_paragraph()
        self._lists.close()
        self._in_footnote = False
        tags = _TAGS.search(text)
        title = text[: tags.start()] if tags else text
        word, _, rest = title.partition(" ")
        title = _PRIORITY.sub("", rest if word in self._states else title, count=1)
        never = {tag.lower() for tag in tags[1].split(":")} & _NEVER_EXPORTED if tags else set()
        self._hidden = level if never or title.split(" ")[0] == "COMMENT" else 0
        if not self._hidden:
            self._writer.heading(level, _plain("" if title.strip() == "Footnotes" else title))
        else:
            self.notes["headlines that are never exported left out"] += 1

    def _is_left_out(self, line: str) -> bool:
        """Lines that only the program reads; the blocks and drawers among them to their ends."""
        stripped = line.strip()
        if begun := _BEGIN.match(line):
            self._begin((begun[1] or "dynamic").lower())
        elif stripped.lower().startswith("#+end_"):
            self._end_block(stripped.lower())
        elif keyword := _KEYWORD.match(line):
            self._keyword(keyword[1].lower(), keyword[2].strip())
        elif _DRAWER.match(line) and not _DRAWER_END.match(line):
            self._until = ":end:"
        elif not (stripped == "#" or stripped.startswith("# ") or _PLANNING.match(line) or _RULE.match(line)):
            return self._is_counted(stripped)
        self._end_paragraph()
        return True

    def _is_counted(self, stripped: str) -> bool:
        """Tables, fixed-width lines and the texts of footnotes."""
        table, fixed = stripped.startswith("|"), stripped == ":" or stripped.startswith(": ")
        self.notes["tables left out"] += table and not self._in_table
        self.notes["code blocks left out"] += fixed and not self._in_fixed
        self._in_table, self._in_fixed = table, fixed
        footnote = bool(_FOOTNOTE.match(stripped))
        self.notes["footnotes left out"] += footnote
        self._in_footnote = footnote or (self._in_footnote and bool(stripped))
        return table or fixed or self._in_footnote

    def _begin(self, kind: str) -> None:
        if kind in _CODE_BLOCKS or kind in _DROPPED_BLOCKS:
            self.notes["code blocks left out"] += kind in _CODE_BLOCKS
            self._until = "#+end:" if kind == "dynamic" else f"#+end_{kind}"
        elif kind in _QUOTES:
            self._end_paragraph()
            self._writer.open_quote()

    def _end_block(self, stripped: str) -> None:
        self._end_paragraph()
        if stripped.removeprefix("#+end_") in _QUOTES:
            self._writer.close_quote()

    def _keyword(self, key: str, value: str) -> None:
        if key in {"todo", "seq_todo", "typ_todo"}:
            self._states |= {re.sub(r"\(.*", "", state) for state in value.split() if state != "|"}
        key = key.removeprefix("hugo_")
        if value:
            value = value.strip("<>[]") if "date" in key else value
            self.stated[key] = f"{self.stated[key]} {value}" if key == "title" and key in self.stated else value

    def _text(self, line: str) -> None:
        indent = len(line) - len(line.lstrip())
        if not line.strip():
            self._end_paragraph()
        elif item := _ITEM.match(line):
            self._end_paragraph()
            head = _ITEM_HEAD.match(item[4] or "")
            self._lists.item(len(item[1].expandtabs(8)), number=int(item[3]) if (item[3] or "").isdecimal() else 0)
            self._lines.append((item[4] or "")[head.end() if head else 0 :].replace(" :: ", ": ", 1))
        else:
            if self._lists.end_at(indent):
                self._end_paragraph()
                self._lists.outdent(indent)
            self._lines.append(line.strip())

    def _end_paragraph(self) -> None:
        if self._lines:
            self._writer.paragraph(_plain("\n".join(self._lines)).replace("\n", " "))
            self._lines = []


def _plain(text: str) -> str:
    """Inline markup to the words that are shown."""
    if len(text) > MAX_INLINE or not _MARKUP.search(text):
        return text
    text = _LINK.sub(_shown, _DELETED.sub("", text))
    for _ in range(3):  # emphasis inside emphasis
        text, changed = _EMPHASIS.subn(r"\2", text)
        if not changed:
            break
    return _ENTITY.sub(lambda found: _ENTITIES[found[1]], text)


def _shown(link: re.Match[str]) -> str:
    target, words = link[1], link[2]
    if words and not _IMAGE.search(words):
        return words
    if _IMAGE.search(target) or target.startswith(("file:", "attachment:", "id:", "#")):
        return ""
    return target.lstrip("*")


READER = Reader(kind="org", read_text=read_org, suffixes=frozenset([".org"]))
