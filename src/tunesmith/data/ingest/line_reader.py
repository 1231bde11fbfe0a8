"""What readers of line-based markup (Org, AsciiDoc, Textile) share: line ends, and lists whose depth is a number."""

from __future__ import annotations

from tunesmith.data.ingest.blocks import BlockWriter
from tunesmith.data.text.decode import UnreadableError

__all__ = ["MAX_INLINE", "ListLevels", "newlines"]

MAX_INLINE = 30_000  # a longer paragraph is taken as it is written: searching for its inline markup takes too long

_MAX_CHARACTERS = 4_000_000


def newlines(text: str) -> str:
    """The text with one kind of line end. UnreadableError for more than four million characters, two very long books."""
    if len(text) > _MAX_CHARACTERS:
        raise UnreadableError("it is longer than 4 million characters")
    return text.replace("\r\n", "\n").replace("\r", "\n")


class ListLevels:
    """Opens and closes the lists of a writer by the depth of their items: an indent, or a count of markers."""

    def __init__(self, writer: BlockWriter) -> None:
        self._writer = writer
        self._depths: list[tuple[int, bool]] = []

    def item(self, depth: int, *, number: int = 0) -> None:
        """An item of a numbered list if it has a number (the first one counts), else of bullets."""
        while self._depths and self._depths[-1][0] > depth:
            self._close_one()
        if self._depths and self._depths[-1] != (depth, number > 0) and self._depths[-1][0] == depth:
            self._close_one()
        if not self._depths or self._depths[-1][0] < depth:
            self._writer.open_list(start=number)
            self._depths.append((depth, number > 0))
        self._writer.open_item()

    def end_at(self, indent: int) -> bool:
        """Whether text at this indent is no longer inside of the innermost item."""
        return bool(self._depths) and self._depths[-1][0] >= indent

    def outdent(self, indent: int) -> None:
        """Text that stands by itself at this indent: lists that are not left of it end."""
        while self._depths and self._depths[-1][0] >= indent:
            self._close_one()

    def close(self) -> None:
        """All lists end."""
        while self._depths:
            self._close_one()

    def _close_one(self) -> None:
        self._depths.pop()
        self._writer.close_list()
