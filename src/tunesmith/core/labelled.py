"""Rows with one answer and a label: the record that methods learn from which need no pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.core.records import Example, Message, Origin, Preference, Row
from tunesmith.core.texts import Text

__all__ = ["ROWS", "Labelled", "bad_answers", "good_rows", "labelled_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A prompt with one answer that is marked as good (`label` true) or bad. `prompt` ends with the user's turn."""

    id: str
    prompt: tuple[Message, ...]
    completion: str
    label: bool
    document_id: str
    group: str
    source: str
    origin: Origin | None = None
    title: str | None = None
    license: str | None = None
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation with the answer, whichever its label."""
        return (*self.prompt, Message(role="assistant", content=self.completion))

    @property
    def answer(self) -> str:
        """The answer, whichever its label."""
        return self.completion

    @property
    def answers(self) -> tuple[str, ...]:
        """The one answer."""
        return (self.completion,)


ROWS: Mapping[str, type[Row]] = {kind.__name__: kind for kind in (Example, Preference, Labelled, Text)}
"""The kinds of rows that a dataset can be made of, by the name that its manifest has."""


def good_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows whose `answer` is right: all but labelled ones that are bad."""
    return [row for row in rows if not (isinstance(row, Labelled) and not row.label)]


def bad_answers(row: Row) -> tuple[str, ...]:
    """The answers of a row that should become less likely."""
    if isinstance(row, Preference):
        return (row.rejected,)
    return (row.completion,) if isinstance(row, Labelled) and not row.label else ()


def labelled_of(row: Preference) -> tuple[Labelled, Labelled]:
    """The two labelled rows that a preference is: its chosen answer as a good one, its rejected answer as a bad one."""
    return tuple(  # type: ignore[return-value]
        Labelled(
            id=f"{row.id}:{name}",
            prompt=row.prompt,
            completion=answer,
            label=name == "chosen",
            **{one: getattr(row, one) for one in ("document_id", "group", "source", "origin", "title", "license", "meta")},
        )
        for name, answer in (("chosen", row.chosen), ("rejected", row.rejected))
    )
