"""The activity of Gemini as a page, which is recognised and not read."""

from __future__ import annotations

from tunesmith.data.ingest.container import Container

__all__ = ["CONTAINER"]


def _is_page(name: str, head: bytes) -> bool:
    return b"mdl-typography" in head and b"content-cell" in head and (b"Gemini" in head or b"Bard" in head)


CONTAINER = Container(
    name="gemini_page",
    title="the activity of Gemini as a page",
    taken="",
    left_out="",
    file=_is_page,
    suffixes=frozenset([".html"]),
    instead="ask Takeout for My Activity again, in the format JSON",
)
