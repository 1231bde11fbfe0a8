"""A writer of prose blocks that keeps track of lists and quotes; Markdown, HTML and feeds all write through it."""

from __future__ import annotations

import re

from tunesmith.data.text.prose import Block, tidy

__all__ = ["BlockWriter"]

_MARKED = re.compile(r"^(?:#{1,6}|>|-|\d{1,9}\.)(?= )")


class BlockWriter:
    """Takes headings, paragraphs and the borders of lists and quotes; `blocks` is the result."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._lists: list[int] = []  # next number of each open list; 0 for bullets
        self._marker = ""
        self._list_lines: list[str] = []
        self._quotes = 0

    def heading(self, level: int, text: str) -> None:
        """A heading of level 1 to 6, on one line."""
        self.close_lines()
        line = " ".join(tidy(text).split())
        if line:
            self.blocks.append(Block("heading", f"{'#' * min(max(level, 1), 6)} {line}"))

    def paragraph(self, text: str) -> None:
        """A paragraph: a quote inside a quote, the line of an item at the head of an item, else by itself."""
        text = tidy(text)
        if not text:
            return
        if self._quotes:
            self.close_lines()
            lines = "\n".join(f"> {line}" for line in text.split("\n"))
            self.blocks.append(Block("quote", lines))
        elif self._lists and self._marker:
            self._list_lines.append(f"{self._marker} {' '.join(text.split())}")
            self._marker = ""
        else:
            self.close_lines()
            self.blocks.append(Block("paragraph", _without_mark(text)))

    def open_list(self, *, start: int = 0) -> None:
        """A list begins; `start` is the first number of a numbered one, 0 means bullets."""
        if not self._lists:
            self.close_lines()
        self._lists.append(start)

    def close_list(self) -> None:
        """The innermost list ends."""
        if self._lists:
            self._lists.pop()
        self._marker = ""
        if not self._lists:
            self.close_lines()

    def open_item(self) -> None:
        """An item begins; what comes next stands on its line."""
        number = self._lists[-1] if self._lists else 0
        if not self._lists:
            self._lists.append(0)
        self._marker = f"{number}." if number else "-"
        if number:
            self._lists[-1] += 1

    def open_quote(self) -> None:
        """A quotation begins."""
        self.close_lines()
        self._quotes += 1

    def close_quote(self) -> None:
        """A quotation ends."""
        self._quotes = max(0, self._quotes - 1)

    def extend(self, blocks: list[Block]) -> None:
        """Blocks that are finished already."""
        for block in blocks:
            if block.kind == "paragraph":
                self.paragraph(block.text)
            else:
                self.close_lines()
                self.blocks.append(block)

    def close_lines(self) -> None:
        """Finish the list lines collected so far as one block."""
        if self._list_lines:
            self.blocks.append(Block("list", "\n".join(self._list_lines)))
            self._list_lines = []


def _without_mark(text: str) -> str:
    """A paragraph must not look like a heading, quote or item: an escaped mark at its start is taken off."""
    return _MARKED.sub("", text).lstrip() if _MARKED.match(text) and not text[0].isdigit() else text
