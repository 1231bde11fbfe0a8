"""The clippings of a Kindle (`My Clippings.txt`) are recognised and left out: they are passages of other people's books."""

from __future__ import annotations

import re

from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.line_reader import newlines
from tunesmith.data.ingest.reader import Reader

__all__ = ["READER", "is_clippings", "read_clippings"]

_BORDER = re.compile(r"^={10}\s*$", re.MULTILINE)
_SECOND_LINE = re.compile(r"\ufeff?[^\n]{1,500}\n-[^\n]{0,80}\d[^\n]*\|[^\n]*\n")  # in every language: a place, a bar, a date


def is_clippings(head: str) -> bool:
    """Whether a file begins with a clipping: a title, the line of its place and date, and a border of ten signs below."""
    head = head.replace("\r\n", "\n").lstrip("\ufeff")
    return bool(_SECOND_LINE.match(head) and _BORDER.search(head))


def read_clippings(text: str, *, name: str) -> Reading:
    """No document: the clippings are counted."""
    count = len(_BORDER.findall(newlines(text)))
    return Reading(notes={"Kindle clippings, which are not the author's writing, left out": count})


READER = Reader(kind="clippings", read_text=read_clippings, first_lines=is_clippings)
