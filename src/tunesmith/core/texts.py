"""Rows of plain text: the record that continued pre-training learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunesmith.core.records import Message, Origin

__all__ = ["Text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A document, or a part of one that is too long for one row. The texts of all its parts, in order, are the document.

    `before`: the end of the part that precedes, read as context and not learned; empty at the beginning of a document. `ends`:
    whether the document ends here. `group` is what a split must not tear apart: all parts of a document, at least.
    """

    id: str
    text: str
    before: str = ""
    ends: bool = True
    document_id: str
    group: str
    source: str
    title: str | None = None
    origin: Origin | None = None
    license: str | None = None
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Nothing: nobody asks for a text."""
        return ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The text as the one turn, which nothing precedes."""
        return (Message(role="assistant", content=self.text),)

    @property
    def answer(self) -> str:
        """The text."""
        return self.text

    @property
    def answers(self) -> tuple[str, ...]:
        """The text alone."""
        return (self.text,)
