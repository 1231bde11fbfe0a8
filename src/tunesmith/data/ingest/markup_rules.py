"""What of a page's markup is prose: rules for `<pre>`, tables, footnotes and comments, the same for every kind of source."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from lxml import html

from tunesmith.data.text.words import num_words

__all__ = ["CODE", "FOOTNOTES", "TABLES", "drop", "drop_notes", "is_data_table", "lay_open", "preformatted_prose", "text_of"]

CODE, TABLES = "code blocks left out", "tables left out"
FOOTNOTES, _COMMENTS = "footnotes left out", "comments of others left out"
_CODE_CLASS = re.compile(
    r"\b(?:highlight|hljs|prettyprint|sourcecode|brush:|language-|lang-|codehilite|chroma|shiki|prism)", re.I
)
_WORD = re.compile(r"[(\[\"'“‘«]*[^\W\d_]+(?:['’\-/][^\W\d_]+)*[)\]\"'”’».,;:!?…]*")
_SYMBOLS = re.compile(r"[{};=<>|\\$#@&^~`+*%_]")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)]?(?:\s|$)")
_COMMENT_LINE = re.compile(r"^\s*(?://|#|--|/\*|\*|;;|%|>>>|\$ )", re.MULTILINE)
_VERSE = re.compile(r"[\"'“‘«(¡¿—-]*\s*[^\W\d_a-z](?![A-Z]{2})")
_LONG_TEXT = 150  # words: from here on it is judged by its paragraphs, for it may hold figures and listings between them
_SENTENCE = 8
_LONG_CELL = 20  # words: cells of this length hold sentences
_BLOCKS_IN_CELL_TEXT = """
h1 h2 h3 h4 h5 h6 ul ol dl blockquote article section table form
"""
_BLOCKS_IN_CELL = frozenset(_BLOCKS_IN_CELL_TEXT.split())
_BLOCK_CHILDREN = frozenset([*_BLOCKS_IN_CELL, "p", "div", "pre", "hr", "center", "figure", "main"])
_TABLE_PARTS = ("table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption", "colgroup")
_LAYOUT_ROLES = frozenset(["presentation", "none"])
_NOTE_LINK = re.compile(
    r"#(?:[\w:.-]*?(?:fn|ftn|edn|footnote|endnote|cite_note|sdfootnote|sdendnote)[\w:.-]*|note[-_:]?\d[\w:.-]*)$", re.I
)
_COMMENT_LINK = re.compile(r"#(?:cmnt|_msocom_|_cmnt)[\w-]*$", re.I)
_BACK_LINK = re.compile(r"(?:_ref|ref[-_:]?)|^#(?:cite_ref|_msoanchor|r\d|back)|anc$", re.I)
_NOTE_MARK = re.compile(r"[\[(]?(?:\d{1,3}|[a-z]{1,3}\d{0,3}|[*†‡§¶]{1,3})[\])]?", re.I)
_NOTE_ROLES = frozenset(["doc-footnote", "doc-endnote", "doc-endnotes", "footnote", "endnote", "footnotes", "endnotes"])
_NOTE_CLASSES = frozenset(["footnotes", "footnote", "endnotes", "footnotes-list", "footnote-definition", "footnote-container"])
_NOTE_HEADINGS = frozenset(["footnotes", "notes", "footnote", "endnotes", "fußnoten", "anmerkungen", "notes de bas de page"])


def text_of(element: html.HtmlElement) -> str:
    """All text of an element, comments and processing instructions left out."""
    return "".join(str(part) for part in element.itertext())


def drop(element: html.HtmlElement) -> None:
    """Take an element out of its tree; what follows it stays."""
    parent = element.getparent()
    if parent is None:
        return
    before = element.getprevious()
    if element.tail and before is not None:
        before.tail = (before.tail or "") + element.tail
    elif element.tail:
        parent.text = (parent.text or "") + element.tail
    element.tail = None
    parent.remove(element)


def preformatted_prose(element: html.HtmlElement) -> list[str] | None:
    """The paragraphs of a `<pre>` that holds prose or verse; None for code, output, figures in characters.

    Code says so by its class or a `<code>` inside it. Otherwise text is prose if three in four of its tokens are plain words,
    at most one character in thirty is a symbol of programs, and it has sentences or lines that begin with a capital; a long
    text if half of it stands in such paragraphs. Lines wrapped by hand are joined, short ones stay lines.
    """
    marks = [element, *element.iter("code", "span"), *([holder] if (holder := element.getparent()) is not None else [])]
    if any(_CODE_CLASS.search(f"{mark.get('class') or ''} {mark.get('data-lang') or ''}") for mark in marks):
        return None
    if len(element) and element[0].tag in {"code", "samp", "kbd"} and not (element.text or "").strip():
        return None
    return _prose_in_lines(_text_with_breaks(element))


def _prose_in_lines(text: str) -> list[str] | None:
    """The same for text with line breaks."""
    text = text.replace("\r\n", "\n").replace("\f", "\n\n").expandtabs()
    parts = [part for part in re.split(r"\n[^\S\n]*\n", text) if part.strip()]
    size = len(text.split())
    if size < _LONG_TEXT:
        if not _is_prose(text) or not _is_written(text):
            return None
    elif 2 * sum(len(part.split()) for part in parts if _is_prose(part)) < size:
        return None
    return [_paragraph(part) for part in parts if not _is_figure(part)]


def _is_prose(text: str) -> bool:
    tokens = text.split()
    plain = sum(1 for token in tokens if _WORD.fullmatch(token))
    letters = sum(map(len, tokens))
    if plain < 4 or plain < 0.75 * len(tokens) or len(_SYMBOLS.findall(text)) > letters / 30:
        return False
    return len(_COMMENT_LINE.findall(text)) <= (text.count("\n") + 1) / 3


def _is_written(text: str) -> bool:
    """Sentences, or lines of verse; not commands and settings, which begin in lower case or in capitals throughout."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len(_SENTENCE_END.findall(text)) >= len(text.split()) / 50:
        return True
    return len(lines) > 1 and sum(1 for line in lines if _VERSE.match(line)) * 2 >= len(lines)


def _is_figure(part: str) -> bool:
    """Drawn in characters: fewer than half of them are letters or digits."""
    drawn = "".join(part.split())
    return sum(character.isalnum() for character in drawn) * 2 < len(drawn)


def _paragraph(part: str) -> str:
    lines = [line.strip() for line in part.split("\n") if line.strip()]
    is_wrapped = len(lines) > 1 and sum(map(len, lines[:-1])) / (len(lines) - 1) > 45
    return (" " if is_wrapped else "\n").join(lines)


def _text_with_breaks(element: html.HtmlElement) -> str:
    parts = [element.text or ""]
    for child in element.iterdescendants():
        if child.tag == "br":
            parts.append("\n")
        elif isinstance(child.tag, str):
            parts.append(child.text or "")
        parts.append(child.tail or "")
    return "".join(parts)


def is_data_table(table: html.HtmlElement) -> bool:
    """Whether a table holds figures and short entries (which are not prose) rather than text.

    Text are the tables that lay out a page: with the role of presentation, with headings, lists, quotations or tables in their
    cells, or of a single row or column with eight words or more. So are those where most words stand in cells of twenty words
    or more. The rest is data.
    """
    if (table.get("role") or "").lower() in _LAYOUT_ROLES:
        return False
    rows = [[cell for cell in row if cell.tag in {"td", "th"}] for row in table.iter("tr")]
    cells = [cell for row in rows for cell in row]
    words = [num_words(text_of(cell)) for cell in cells]
    if sum(count for count in words if count >= _LONG_CELL) * 2 > sum(words):
        return False
    has_heads = any(cell.tag == "th" for cell in cells) or table.find("caption") is not None or table.find("thead") is not None
    if has_heads:
        return True
    if any(child.tag in _BLOCKS_IN_CELL for cell in cells for child in cell.iterdescendants()):
        return False
    is_single = sum(1 for row in rows if row) < 2 or max((len(row) for row in rows), default=0) < 2
    return not is_single or sum(words) < _SENTENCE


def lay_open(tree: html.HtmlElement) -> bool:
    """Make sections of tables that are text, and paragraphs of `<pre>` that is prose. True if there was such a table."""
    found = False
    for table in list(tree.iter("table")):
        if not is_data_table(table):
            found = True
            for part in [table, *_own_parts(table)]:
                is_flat = part.tag in {"td", "th"} and not any(child.tag in _BLOCK_CHILDREN for child in part)
                part.tag = "p" if is_flat else "div"
    for element in list(tree.iter("pre")):
        if (paragraphs := preformatted_prose(element)) is not None:
            _replace_by_paragraphs(element, paragraphs)
    return found


def _own_parts(table: html.HtmlElement) -> Iterator[html.HtmlElement]:
    """The rows and cells of a table, not those of tables in it."""
    for part in list(table.iterdescendants(*_TABLE_PARTS)):
        if part.tag != "table" and next(part.iterancestors("table"), table) is table:
            yield part


def _replace_by_paragraphs(element: html.HtmlElement, paragraphs: list[str]) -> None:
    for child in list(element):
        element.remove(child)
    element.tag, element.text = "div", None
    for paragraph in paragraphs:
        made = html.Element("p")
        lines = paragraph.split("\n")
        made.text = lines[0]
        for line in lines[1:]:
            made.append(html.Element("br"))
            made[-1].tail = line
        element.append(made)


def drop_notes(tree: html.HtmlElement, notes: Counter[str]) -> None:
    """Take out footnotes and comments of others (Google Docs, Word), with the marks in the text that lead to them."""
    links = [(link, _COMMENT_LINK.search(link.get("href") or "") is not None) for link in tree.iter("a")]
    marks = [(link, is_comment) for link, is_comment in links if _is_note_link(link, is_comment=is_comment)]
    targets = _targets(tree) if marks else {}
    for link, is_comment in marks:
        target = targets.get((link.get("href") or "")[1:])
        _drop_mark(link)
        if target is not None and _is_inside(target, tree):
            drop(_note_of(target))
            notes[_COMMENTS if is_comment else FOOTNOTES] += 1
    for section in list(tree.iter("section", "div", "aside", "ol")):
        if _is_note_section(section) and _is_inside(section, tree):
            items = len(section.findall(".//li")) or 1
            if num_words(text_of(section)):
                notes[FOOTNOTES] += items
            _drop_with_heading(section)


def _targets(tree: html.HtmlElement) -> dict[str, html.HtmlElement]:
    found: dict[str, html.HtmlElement] = {}
    for element in tree.iter():
        if isinstance(element.tag, str):
            for key in ("id", "name"):
                if named := element.get(key):
                    found.setdefault(named, element)
    return found


def _is_inside(element: html.HtmlElement, tree: html.HtmlElement) -> bool:
    return element is tree or any(ancestor is tree for ancestor in element.iterancestors())


def _is_note_link(link: html.HtmlElement, *, is_comment: bool) -> bool:
    """A mark in the text, not the link back from the note."""
    address = link.get("href") or ""
    if not address.startswith("#") or len(address) < 2:
        return False
    named = f"{link.get('role') or ''} {link.get('{http://www.idpf.org/2007/ops}type') or link.get('epub:type') or ''}".lower()
    if "noteref" in named:
        return True
    if not (is_comment or _NOTE_LINK.search(address)) or _BACK_LINK.search(address):
        return False
    return _NOTE_MARK.fullmatch("".join(text_of(link).split())) is not None


def _drop_mark(link: html.HtmlElement) -> None:
    holder = link.getparent()
    drop(link)
    if holder is not None and holder.tag == "sup" and not text_of(holder).strip():
        drop(holder)


def _note_of(target: html.HtmlElement) -> html.HtmlElement:
    """The whole note at a target: its paragraph or item, and the division that holds nothing else."""
    block = target
    while block.tag in {"a", "span", "sup", "b", "i", "em", "strong"} and block.getparent() is not None:
        block = block.getparent()
    while (parent := block.getparent()) is not None and parent.tag in {"div", "aside", "li", "dd"}:
        if next((child for child in parent if text_of(child).strip()), None) is not block or len(parent) > 6:
            break
        if (parent.text or "").strip() or len(_back_links(parent)) > 1:
            break
        block = parent
    return block


def _back_links(element: html.HtmlElement) -> list[html.HtmlElement]:
    return [link for link in element.iter("a") if (link.get("href") or "").startswith("#")]


def _is_note_section(section: html.HtmlElement) -> bool:
    classes = set((section.get("class") or "").lower().split())
    role = (section.get("role") or section.get("epub:type") or "").lower()
    return bool(classes & _NOTE_CLASSES) or role in _NOTE_ROLES or (section.get("id") or "").lower() in _NOTE_CLASSES


def _drop_with_heading(section: html.HtmlElement) -> None:
    before = section.getprevious()
    while before is not None and before.tag == "hr":
        before = before.getprevious()
    is_heading = before is not None and str(before.tag) in {"h1", "h2", "h3", "h4", "h5", "h6"}
    if is_heading and text_of(before).strip(" :").casefold() in _NOTE_HEADINGS:
        drop(before)
    drop(section)
