"""The shape of `Document.text`: blocks separated by blank lines; headings as `# …`, lists as `- …`, quotes as `> …`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Block", "BlockKind", "blocks_from_text", "text_from_blocks", "tidy", "without_title"]

BlockKind = Literal["paragraph", "heading", "list", "quote"]

_HEADING = re.compile(r"#{1,6} \S")
_ITEM = re.compile(r"(?:- |\d{1,9}\. )\S")
_INVISIBLE = dict.fromkeys([0x00AD, 0x200B, 0x2060, 0xFEFF, *range(0x00, 0x09), 0x0E, 0x0F, *range(0x10, 0x20), 0x7F])
_SPACES = re.compile(r"[^\S\n]+")
_GIANT = re.compile(r"[!-~]{300,}")  # ASCII alone: scripts without blanks have paragraphs as long


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph, heading (with its `#` marks), list (one line an item) or quote (lines that begin with `> `)."""

    kind: BlockKind
    text: str


def tidy(text: str) -> str:
    """A paragraph without invisible characters, runs of blanks, or unbroken ASCII strings of 300 characters (encoded data)."""
    text = text.replace("\u2028", "\n").replace("\u2029", "\n").replace("\x85", "\n").translate(_INVISIBLE)
    lines = (_SPACES.sub(" ", line).strip() for line in _GIANT.sub("", text).split("\n"))
    return "\n".join(line for line in lines if line)


def text_from_blocks(blocks: Iterable[Block]) -> str:
    """The blocks as `Document.text`."""
    return "\n\n".join(block.text for block in blocks if block.text)


def without_title(blocks: Sequence[Block], title: str | None) -> tuple[str | None, Sequence[Block]]:
    """Title and blocks: a first heading that says the title is left out; where there is no title, it is the title."""
    if not blocks or blocks[0].kind != "heading":
        return title, blocks
    heading = blocks[0].text.lstrip("# ")
    if title is None or heading.casefold() == title.casefold():
        return title or heading, blocks[1:]
    return title, blocks


def blocks_from_text(text: str) -> list[Block]:
    """`Document.text` taken apart into blocks again; joining their texts with blank lines gives it back."""
    return [Block(_kind(part), part) for part in re.split(r"\n{2,}", text) if part.strip()]


def _kind(part: str) -> BlockKind:
    if _HEADING.match(part) and "\n" not in part:
        return "heading"
    if _ITEM.match(part):
        return "list"
    return "quote" if part.startswith("> ") else "paragraph"
