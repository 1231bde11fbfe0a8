"""reStructuredText to documents, parsed by docutils without any file or raw content: the prose of the document tree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tunesmith.data.ingest.article import article
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.front_matter import read_front_matter
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.line_reader import newlines
from tunesmith.data.ingest.metadata import stated_metadata
from tunesmith.data.ingest.reader import Reader
from tunesmith.data.text.decode import UnreadableError

__all__ = ["READER", "read_restructured"]

_NIKOLA = re.compile(r"\.\. ([\w-]+):(?: +(.*))?$")
# Roles of Sphinx and site generators, which docutils does not know: their words are text. `code` and `math` stay its own.
_ROLE = re.compile(r":(?!code:|math:|raw:)[A-Za-z][\w:.+-]{0,40}:`(!?~?)([^`]{1,1000})`")
_TARGET = re.compile(r"(.+?)\s*<[^<>]*>$", re.DOTALL)
# Directives of Sphinx and site generators whose content is prose: read as what docutils calls a note.
_PROSE_DIRECTIVE = re.compile(
    r"^([ \t]*\.\. )(?:seealso|versionadded|versionchanged|deprecated|details|dropdown|card|tab-item)::.*$",
    re.MULTILINE,
)
_MAX_CHARACTERS = 1_000_000
_MAX_LINE = 10_000
_DROPPED: Mapping[str, str] = {
    **{"literal_block": "code blocks left out", "doctest_block": "code blocks left out", "table": "tables left out"},
    **{"footnote": "footnotes left out", "citation": "footnotes left out", "math_block": "formulas left out"},
    **dict.fromkeys(["image", "figure", "comment", "substitution_definition", "target", "raw", "field_list", "docinfo"], ""),
    **dict.fromkeys(["option_list", "system_message", "transition", "meta", "decoration", "attribution", "sidebar"], ""),
}
_SETTINGS = {
    **{"file_insertion_enabled": False, "raw_enabled": False, "_disable_config": True, "report_level": 5, "halt_level": 5},
    **{"line_length_limit": _MAX_LINE, "syntax_highlight": "none", "smart_quotes": False, "warning_stream": False},
}


def read_restructured(text: str, *, name: str) -> Reading:
    """One document from one file; title, author, date and draft marks come from its field list, or Nikola's `.. key: value`.

    UnreadableError for files of more than a million characters: the parser takes seconds for each.
    """
    text = newlines(text)
    if len(text) > _MAX_CHARACTERS:
        raise UnreadableError("it is longer than a million characters")
    front, body = read_front_matter(text, name)
    notes: Counter[str] = Counter()
    lines = [line for line in body.split("\n") if len(line) < _MAX_LINE]
    notes["lines over 10,000 characters left out"] = body.count("\n") + 1 - len(lines)
    tree = _parsed(_plain_roles(_PROSE_DIRECTIVE.sub(r"\1note::", "\n".join(lines))))
    stated = {**_nikola(lines), **_fields(tree)}
    walk = _Walk(notes)
    walk.children(tree, level=1)
    walk.writer.close_lines()
    title = tree.get("title")
    values = {"title": str(title)} | stated if title else stated
    metadata = stated_metadata(values, name) if values else front
    return article(walk.writer.blocks, metadata=metadata, name=name, extraction="rst", notes=notes, is_empty=not body.strip())


def _parsed(text: str) -> Any:
    from docutils.core import publish_doctree  # 0.2 s to import: only when there is such a file

    try:
        return publish_doctree(text, settings_overrides={**_SETTINGS})
    except RecursionError as error:
        raise UnreadableError("its lists or quotes are nested too deeply") from error


def _plain_roles(text: str) -> str:
    def shown(role: re.Match[str]) -> str:
        words = role[2]
        if target := _TARGET.match(words):
            return target[1]
        return words.rpartition(".")[2] if "~" in role[1] else words

    return _ROLE.sub(shown, text)


def _nikola(lines: list[str]) -> dict[str, str]:
    """The comments at the head of a file that say what it is: `.. title: …`."""
    found: dict[str, str] = {}
    for line in lines:
        match = _NIKOLA.match(line)
        if not match and line.strip():
            break
        if match:
            found[match[1]] = (match[2] or "").strip()
    return found


def _fields(tree: Any) -> dict[str, str]:
    """What the field list below the title states: fields that docutils knows, and others by their names."""
    found: dict[str, str] = {}
    for info in tree.findall(lambda node: node.tagname == "docinfo"):
        for node in info.children:
            if node.tagname == "field":
                found[node[0].astext()] = node[1].astext() or "true"
            elif node.tagname == "authors":
                found["author"] = ", ".join(author.astext() for author in node.children)
            else:
                found[node.tagname] = node.astext()
    return found


class _Walk:
    """Writes the prose of a tree of docutils."""

    def __init__(self, notes: Counter[str]) -> None:
        self.writer = BlockWriter()
        self.notes = notes
        self._visits: Mapping[str, Callable[[Any, int], None]] = {
            "section": lambda node, level: self.children(node, level=level + 1),
            "title": lambda node, level: self.writer.heading(level, _plain(node)) if node.parent.tagname == "section" else None,
            "subtitle": lambda node, level: None,
            "rubric": lambda node, level: self.writer.heading(level + 1, _plain(node)),
            "paragraph": lambda node, level: self.writer.paragraph(_plain(node).replace("\n", " ")),
            "term": lambda node, level: self.writer.paragraph(_plain(node)),
            "bullet_list": self._list,
            "enumerated_list": self._list,
            "list_item": self._item,
            "block_quote": self._quote,
            "line_block": lambda node, level: self.writer.paragraph("\n".join(_verse(node))),
        }

    def children(self, node: Any, *, level: int) -> None:
        """All that stands below a node; `level` is that of the headings in it."""
        for child in node.children:
            kind = getattr(child, "tagname", "#text")
            if kind in _DROPPED:
                self.notes[_DROPPED[kind]] += bool(_DROPPED[kind])
            elif kind == "topic" and "contents" in child.get("classes", ()):
                continue
            elif kind in self._visits:
                self._visits[kind](child, level)
            elif kind == "problematic" or kind == "#text":
                self.writer.paragraph(child.astext())
            else:
                self.children(child, level=level)

    def _list(self, node: Any, level: int) -> None:
        start = int(node.get("start", 1)) if node.tagname == "enumerated_list" else 0
        self.writer.open_list(start=start)
        self.children(node, level=level)
        self.writer.close_list()

    def _item(self, node: Any, level: int) -> None:
        self.writer.open_item()
        self.children(node, level=level)

    def _quote(self, node: Any, level: int) -> None:
        self.writer.open_quote()
        self.children(node, level=level)
        self.writer.close_quote()


def _plain(node: Any) -> str:
    """The words of inline markup, without footnote marks, pictures and raw content."""
    if node.tagname in {"footnote_reference", "citation_reference", "image", "raw", "target", "system_message"}:
        return ""
    if not node.children:
        return str(node.astext()) if node.tagname == "#text" else ""
    return "".join(_plain(child) for child in node.children)


def _verse(node: Any) -> list[str]:
    lines: list[str] = []
    for child in node.children:
        lines += _verse(child) if child.tagname == "line_block" else [_plain(child)]
    return lines


READER = Reader(kind="rst", read_text=read_restructured, suffixes=frozenset([".rst", ".rest"]))
