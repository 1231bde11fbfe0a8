"""Markdown, MDX and plain text to documents: the author's prose, without code, tables, images, components and templates."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html import unescape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tunesmith.data.ingest.article import article
from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.ingest.front_matter import read_front_matter
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.markdown_notes import (
    is_outline,
    outline_lines,
    plain_lines,
    with_callouts,
    without_comments,
    without_references,
)
from tunesmith.data.ingest.markdown_rules import FOOTNOTES, make_parser, without_templates
from tunesmith.data.ingest.markup import DROPPED_TAGS, fragment_blocks, without_braces
from tunesmith.data.text.decode import UnreadableError
from tunesmith.data.text.prose import Block
from tunesmith.data.text.words import num_words

__all__ = ["markdown_blocks", "read_markdown", "read_text", "without_data_uris"]

_DATA_URI = re.compile(r"data:[\w.+-]{1,40}/[\w.+-]{1,80}(?:;[\w=.+-]{1,80})*;base64,[A-Za-z0-9+/=%_-]*")
_TAG_NAME = re.compile(r"<(/?)([A-Za-z][\w.:-]*)")
_MANGLED_TABLE = re.compile(r"^\|.*\n\|[ \t]*:?-{2,}")  # a table whose rule does not fit its head
_QUERY = re.compile(r"\$?= ?[\w.]+[.(\[]")  # inline Dataview, computed when the note is shown
_MAX_INLINE = 30_000  # a longer paragraph is taken as plain text: inline parsing is quadratic in hostile ones
_MAX_LINE = 100_000
_CODE, _TABLE = "code blocks left out", "tables left out"


def read_markdown(text: str, *, name: str) -> Reading:
    """One document from one file, with the status that its front matter states. UnreadableError if no prose is left."""
    metadata, body = read_front_matter(without_data_uris(text.replace("\r\n", "\n").replace("\r", "\n")), name)
    notes: Counter[str] = Counter()
    blocks = markdown_blocks(body, name=name, notes=notes)
    return article(
        blocks,
        metadata=replace(metadata, title=_plain_title(metadata.title)),
        name=name,
        extraction="markdown",
        notes=notes,
        is_empty=not body.strip(),
    )


def without_data_uris(text: str) -> str:
    """Text without pictures and fonts that are written into it as base64."""
    return _DATA_URI.sub("", text)


def _plain_title(title: str | None) -> str | None:
    """A title without the tags, entities and template tags that site generators render in it."""
    if title is None:
        return None
    bare = re.sub(r"</?[a-zA-Z][^<>]{0,200}>", "", unescape(without_templates(title)))
    return " ".join(bare.split()) or None


def read_text(text: str, *, name: str) -> Reading:
    """One document from plain text: blank lines separate paragraphs, lines wrapped by hand are joined."""
    metadata, body = read_front_matter(text.replace("\r\n", "\n").replace("\r", "\n"), name)
    writer = BlockWriter()
    for part in re.split(r"\n[^\S\n]*\n", body):
        lines = [line.strip() for line in part.split("\n") if line.strip()]
        wrapped = len(lines) > 1 and sum(map(len, lines[:-1])) / (len(lines) - 1) > 55
        writer.paragraph((" " if wrapped else "\n").join(lines))
    blocks = writer.blocks if num_words(body) else []
    return article(blocks, metadata=metadata, name=name, extraction="text", notes={}, is_empty=not blocks)


def markdown_blocks(body: str, *, name: str, notes: Counter[str]) -> list[Block]:
    """The prose of a Markdown text below its front matter; `name` says whether it is MDX. `notes` counts what is left out."""
    lines = body.split("\n")
    giant = sum(len(line) > _MAX_LINE for line in lines)
    if giant:
        notes["lines over 100,000 characters left out"] += giant
        body = "\n".join(line for line in lines if len(line) <= _MAX_LINE)
    body = without_comments(body)
    parser = make_parser(mdx=name.lower().endswith(".mdx"), notes=any(mark in body for mark in ("[[", "==", "^^", "::")))
    env: dict[str, Any] = {}
    try:
        tokens = with_callouts(parser.parse(without_templates(body, of_links=True), env))
        notes.update({FOOTNOTES: env[FOOTNOTES]} if FOOTNOTES in env else {})
        return _TokenReader(parser, env, notes, outline=is_outline(body, name)).read(tokens)
    except RecursionError as error:
        raise UnreadableError("its lists or quotes are nested too deeply") from error


class _TokenReader:
    """Walks the flat token list of one file and writes blocks. In an outline every bullet is a paragraph."""

    def __init__(self, parser: MarkdownIt, env: dict[str, Any], notes: Counter[str], *, outline: bool) -> None:
        self.parser, self.env, self.notes, self.outline = parser, env, notes, outline
        self.writer = BlockWriter()
        self.heading = 0
        self.skip_until = ""  # name of an HTML element whose content is dropped, over several blocks

    def read(self, tokens: list[Token]) -> list[Block]:
        remaining = Counter(name for t in tokens if t.type == "html_block" for end, name in _tags(t.content) if end)
        in_table = False
        for token in tokens:
            if token.type in {"table_open", "table_close"}:
                in_table = token.type == "table_open"
                self.notes[_TABLE] += in_table
            elif token.type == "html_block":
                self._html(token.content, remaining)
            elif not in_table and not self.skip_until and not self._border(token):
                self._content(token)
        self.writer.close_lines()
        return self.writer.blocks

    def _border(self, token: Token) -> bool:
        """Lists and quotes opening and closing; False if the token is none of these."""
        writer = self.writer
        match token.type:
            case "bullet_list_open" | "bullet_list_close" | "list_item_open" if self.outline:
                return True
            case "bullet_list_open":
                writer.open_list()
            case "ordered_list_open":
                start = token.attrGet("start")
                writer.open_list(start=1 if start is None else int(start))
            case "bullet_list_close" | "ordered_list_close":
                writer.close_list()
            case "list_item_open":
                writer.open_item()
            case "blockquote_open":
                writer.open_quote()
            case "blockquote_close":
                writer.close_quote()
            case _:
                return False
        return True

    def _content(self, token: Token) -> None:
        if token.type == "heading_open":
            self.heading = int(token.tag[1:])
        elif token.type in {"fence", "code_block"}:
            self.notes[_CODE] += 1
        elif token.type != "inline":
            return
        elif self.heading:
            self.writer.heading(self.heading, self._inline(token.content))
            self.heading = 0
        elif _MANGLED_TABLE.search(token.content):
            self.notes[_TABLE] += 1
        else:
            self.writer.paragraph(self._inline(token.content))

    def _html(self, content: str, remaining: Counter[str]) -> None:
        """Prose of raw HTML. An element that is dropped may open in one block and close in a later one."""
        depth: Counter[str] = Counter()
        for end, name in _tags(content):
            remaining[name] -= end
            depth[name] += -1 if end else 1
        if self.skip_until:
            if depth[self.skip_until] < 0:
                self.skip_until = ""
            return
        left_open = next((n for n in depth if n in DROPPED_TAGS and depth[n] > 0 and remaining[n] > 0), "")
        self.skip_until = left_open
        self.writer.extend(fragment_blocks(without_braces(without_templates(content)), self.notes))

    def _inline(self, content: str) -> str:
        content = plain_lines(outline_lines(content) if self.outline else content)
        if len(content) > _MAX_INLINE:
            self.notes["paragraphs over 30,000 characters taken as plain text"] += 1
            return unescape(re.sub(r"<[^<>]{1,500}>", "", content))
        children: list[Token] = []
        self.parser.inline.parse(content, self.parser, self.env, children)
        return _inline_text(children)


def _inline_text(children: list[Token]) -> str:
    parts: list[str] = []
    skip = ""
    closing = Counter(name for t in children if t.type == "html_inline" for end, name in _tags(t.content) if end)
    for token in children:
        if token.type == "html_inline":
            for end, name in _tags(token.content):
                closing[name] -= end
                if end and name == skip:
                    skip = ""
                elif not end and not skip and name in DROPPED_TAGS and closing[name] > 0:
                    skip = name
                elif name == "br" and not skip:
                    parts.append("\n")
        elif not skip and token.type == "code_inline":
            parts.append("" if _QUERY.match(token.content) else token.content)
        elif not skip and token.type in {"text", "text_special"}:
            parts.append(without_references(token.content))
        elif not skip and token.type in {"softbreak", "hardbreak"}:
            parts.append(" " if token.type == "softbreak" else "\n")
    return re.sub(r"^\[[ xX/<>!?*+-]\] ", "", "".join(parts))


def _tags(content: str) -> list[tuple[bool, str]]:
    return [(bool(slash), name.lower()) for slash, name in _TAG_NAME.findall(content)]
