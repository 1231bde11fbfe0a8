"""Djot to documents: what it writes otherwise than Markdown is made alike, and the Markdown reader reads it."""

from __future__ import annotations

import re
from collections import Counter

from tunesmith.data.ingest.article import article
from tunesmith.data.ingest.front_matter import read_front_matter
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.line_reader import newlines
from tunesmith.data.ingest.markdown import markdown_blocks, without_data_uris
from tunesmith.data.ingest.reader import Reader

__all__ = ["READER", "read_djot"]

_FENCE = re.compile(r"[ \t]*(?:[-*+>] |\d{1,9}[.)] )*(`{3,}|~{3,})")
_ATTRIBUTE_BLOCK = re.compile(r"[ \t]*\{[#.%\w][^{}]{0,500}\}[ \t]*$")
_RULES = (
    (re.compile(r"\{%.{0,2000}?%\}"), ""),  # comments
    (re.compile(r"\{-(?=\S).{0,500}?-\}"), ""),  # deleted
    (re.compile(r"\{([=+_*^~'\"])(.{1,500}?)\1\}"), r"\2"),  # marked, inserted, and emphasis with braces
    (re.compile(r"(?<!\])\[([^\[\]]{1,500})\]\{[^{}]{0,200}\}"), r"\1"),  # words with attributes
    (re.compile(r"(?<=[\w*_\]`])\{[.#%][^{}]{0,200}\}|(?<=\))\{[.#%\w][^{}]{0,200}\}"), ""),
    (re.compile(r"(?<!\w):[a-z][\w-]{1,30}:(?!\w)"), ""),  # symbols
    (re.compile(r"\^([^\s^]{1,60})\^|~([^\s~]{1,60})~"), r"\1\2"),
)
_RAW = re.compile(r"(`+)[^`]{1,500}\1\{=\w{1,20}\}|\$\$?`[^`]{1,500}`")


def read_djot(text: str, *, name: str) -> Reading:
    """One document from one file: prose without code, maths, attributes, comments, deletions and raw content."""
    metadata, body = read_front_matter(without_data_uris(newlines(text)), name)
    notes: Counter[str] = Counter()
    blocks = markdown_blocks(_as_markdown(body), name=name, notes=notes)
    return article(blocks, metadata=metadata, name=name, extraction="djot", notes=notes, is_empty=not body.strip())


def _as_markdown(body: str) -> str:
    lines: list[str] = []
    fence = ""
    for line in body.split("\n"):
        found = _FENCE.match(line[:200])
        if found and (not fence or found[1].startswith(fence)):
            fence = "" if fence else found[1]
        if fence or found or len(line) > 100_000:
            lines.append(line)
        elif not _ATTRIBUTE_BLOCK.match(line[:600]):
            lines.append(_outside_of_code(re.sub(r"^: (?=\S)", "", line)))  # a term that is defined
    return "\n".join(lines)


def _outside_of_code(line: str) -> str:
    """A line whose markup is Markdown's, but for what stands between backticks."""
    parts = _RAW.sub("", line).split("`")
    for number in range(0, len(parts), 2):
        for pattern, instead in _RULES:
            parts[number] = pattern.sub(instead, parts[number])
    return "`".join(parts)


READER = Reader(kind="djot", read_text=read_djot, suffixes=frozenset([".dj", ".djot"]))
