"""HTML fragments to prose blocks, and the ends of tags, JSX included. Used for feed entries and for HTML inside Markdown."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from lxml import etree, html

from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.markup_rules import CODE, TABLES, drop_notes, is_data_table, lay_open, text_of
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import Block

__all__ = ["DROPPED_TAGS", "fragment_blocks", "tag_end", "tree_blocks", "without_braces"]

_DROPPED_TAGS_TEXT = """
audio button canvas embed figcaption figure form head iframe input math noscript object pre script select style svg table
template textarea title video
"""
DROPPED_TAGS = frozenset(_DROPPED_TAGS_TEXT.split())
_BLOCK_TAGS_TEXT = """
address article aside blockquote body dd details div dl dt fieldset footer header hr html li main nav ol p section
summary ul h1 h2 h3 h4 h5 h6 caption center td th tr tbody thead tfoot table
"""
_BLOCK_TAGS = frozenset(_BLOCK_TAGS_TEXT.split())
_HEADINGS = {f"h{n}": n for n in range(1, 7)}
_COUNTED = {"pre": CODE, "table": TABLES}
_SPACE = re.compile(r"\s+")
_TAG_START = re.compile(r"</?[A-Za-z][\w.:-]*|</?>")
_MARK = re.compile(r"[\"'`{}<>]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def fragment_blocks(source: str, notes: Counter[str] | None = None) -> list[Block]:
    """The prose of an HTML fragment. Tables of data, code, footnotes, forms, figures and media are left out.

    `notes` counts the code, tables, footnotes and comments of others. What tells them from prose: `markup_rules.py`.
    """
    notes = notes if notes is not None else Counter()
    data = _CONTROL.sub("", source).encode("utf-8", "replace")
    if not data.strip():
        return []
    parser = html.HTMLParser(encoding="utf-8", remove_pis=False)
    try:
        root = html.fromstring(b"<div>" + data + b"</div>", parser=parser)
    except (etree.LxmlError, ValueError, AssertionError) as error:
        raise UnreadableError(f"its HTML cannot be parsed ({error})") from error
    drop_notes(root, notes)
    lay_open(root)
    return tree_blocks(root, notes)


def tree_blocks(root: html.HtmlElement, notes: Counter[str]) -> list[Block]:
    """The prose below an element whose tags are HTML's, after `drop_notes` and `lay_open`."""
    return _TreeReader(notes).read(root)


class _TreeReader:
    """Walks a tree without recursion (nesting may be deep) and writes blocks."""

    def __init__(self, notes: Counter[str]) -> None:
        self.writer = BlockWriter()
        self.notes = notes
        self.buffer: list[str] = []

    def read(self, root: html.HtmlElement) -> list[Block]:
        walker = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
        for event, element in walker:
            tag = element.tag if isinstance(element.tag, str) else ""
            if event == "start":
                if self._drops(tag, element):
                    if tag in _COUNTED:
                        self.notes[_COUNTED[tag]] += 1
                    walker.skip_subtree()
                else:
                    self._open(tag, element)
                    self._say(element.text)
            elif event == "end":
                if not self._drops(tag, element):
                    self._close(tag)
                if element is not root:
                    self._say(element.tail)
            elif element is not root:
                self._say(element.tail)
        self._flush()
        self.writer.close_lines()
        return self.writer.blocks

    def _drops(self, tag: str, element: html.HtmlElement) -> bool:
        if tag == "table":
            return is_data_table(element)
        if tag == "form":  # some sites put a whole page into one
            return len(element.findall(".//p")) < 2
        if tag == "figure":  # it may hold a quotation, a table or a callout; addresses of films are no words
            own = [text_of(child) for child in element if child.tag not in {"figcaption", "picture", "noscript"}]
            return element.find(".//blockquote") is None and len(" ".join(own).split()) < 3
        return tag in DROPPED_TAGS

    def _say(self, text: str | None) -> None:
        if text:
            self.buffer.append(_SPACE.sub(" ", text))

    def _flush(self, heading: int = 0) -> None:
        text = "".join(self.buffer)
        self.buffer = []
        for part in re.split(r"\n *(?:\n *)+", text):
            if heading:
                self.writer.heading(heading, part)
            else:
                self.writer.paragraph(part)

    def _open(self, tag: str, element: html.HtmlElement) -> None:
        if tag == "br":
            self.buffer.append("\n")
        if tag not in _BLOCK_TAGS:
            return
        self._flush()
        if tag in {"ul", "ol"}:
            start = str(element.get("start") or "1")
            self.writer.open_list(start=0 if tag == "ul" else int(start) if start.isdecimal() and len(start) < 7 else 1)
        elif tag == "li":
            self.writer.open_item()
        elif tag == "blockquote":
            self.writer.open_quote()

    def _close(self, tag: str) -> None:
        if tag not in _BLOCK_TAGS:
            return
        self._flush(_HEADINGS.get(tag, 0))
        if tag in {"ul", "ol"}:
            self.writer.close_list()
        elif tag == "blockquote":
            self.writer.close_quote()


def tag_end(text: str, start: int, limit: int) -> int:
    """Where the tag that begins at `start` ends (exclusive), or -1. Quotes and balanced `{…}` of JSX attributes are skipped.

    Asked about every tag of a text in turn, it reads the text a few times at most.
    """
    opened = _TAG_START.match(text, start, limit)
    if not opened:
        return -1
    position = opened.end()
    if text[position - 1] == ">":
        return position
    limit = min(limit, start + 20_000)  # a tag longer than that is none
    while position > 0 and (mark := _MARK.search(text, position, limit)):
        position = mark.end()
        if mark[0] == ">":
            return position
        if mark[0] == "<":
            return -1
        if mark[0] == "{":
            position = _brace_end(text, mark.start())
        elif mark[0] != "}":
            position = text.find(mark[0], position, limit) + 1
    return -1


def _brace_end(text: str, start: int) -> int:
    """Where the `{…}` that begins at `start` ends (exclusive), or -1; what is learned of those inside it is remembered."""
    ends = _known_braces(text)
    if start in ends:
        return ends[start]
    still_open, position = [start], start + 1
    while still_open and position > 0 and (mark := _MARK.search(text, position)):
        position = mark.end()
        if mark[0] == "}":
            ends[still_open.pop()] = position
        elif mark[0] == "{" and mark.start() in ends:
            position = ends[mark.start()]  # -1: what does not close keeps open what it stands in
        elif mark[0] == "{":
            still_open.append(mark.start())
        elif mark[0] in "\"'`":
            position = text.find(mark[0], position) + 1
    ends.update(dict.fromkeys(still_open, -1))
    return ends[start]


@lru_cache(maxsize=1)
def _known_braces(text: str) -> dict[int, int]:
    """Where braces of this text end, to be filled as they are found."""
    return {}


def without_braces(source: str) -> str:
    """HTML in which tags with JSX attributes (`style={{…}}`, `onClick={() => …}`) and JSX comments are made plain."""
    if "{" not in source:
        return source
    parts, position = [], 0
    while (start := source.find("<", position)) >= 0:
        end = tag_end(source, start, len(source))
        if end < 0:
            parts.append(source[position : start + 1])
            position = start + 1
            continue
        tag = source[start:end]
        opened = _TAG_START.match(tag)
        parts.append(source[position:start])
        parts.append(f"{opened.group(0)}>" if opened and "{" in tag else tag)
        position = end
    parts.append(source[position:])
    return _without_comments("".join(parts))


def _without_comments(text: str) -> str:
    parts, position = [], 0
    while (start := text.find("{/*", position)) >= 0 and (end := text.find("*/}", start + 3)) >= 0:
        parts.append(text[position:start])
        position = end + 3
    return "".join([*parts, text[position:]])
