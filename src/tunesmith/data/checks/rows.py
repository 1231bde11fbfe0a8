"""What all checks read: an example with its texts taken apart once, and the way a finding is worded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tunesmith.core.records import Example, Finding
from tunesmith.data.text.language import language_of

__all__ = ["FIX", "Row", "error_above", "found", "plain", "rows_from_examples", "shared"]

FIX = " Fix: "
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One example. `said`: the turns before the answer, system prompt apart. `tokens`: the answer at blanks.

    `text`: all that is said, with the system prompt only in the first row that has it. `language`: of the answer,
    "" not known. `low`: the answer in lower case with straight apostrophes. `longest`: letters of the longest word of `text`.
    """

    example: Example
    system: str
    said: str
    answer: str
    low: str
    text: str
    tokens: tuple[str, ...]
    language: str
    longest: int


def rows_from_examples(examples: Sequence[Example]) -> list[Row]:
    """The rows of examples, also of ones whose turns are out of order: no answer is then the empty text."""
    seen: set[str] = set()
    rows = []
    for example in examples:
        messages = example.messages
        answered = bool(messages) and messages[-1].role == "assistant"
        system = "\n".join(message.content for message in messages if message.role == "system")
        turns = [message.content for message in messages if message.role != "system"]
        said = "\n".join(turns[:-1] if answered else turns)
        answer = messages[-1].content if answered else ""
        text = "\n".join(turns)
        if system and system not in seen:
            seen.add(system)
            text = f"{system}\n{text}"
        tokens = tuple(answer.split())
        rows.append(
            Row(
                example=example,
                system=system,
                said=said,
                answer=answer,
                low=answer.lower().replace("’", "'"),
                text=text,
                tokens=tokens,
                language=language_of(answer, tokens),
                longest=max(map(len, text.split()), default=0),
            )
        )
    return rows


def found(
    name: str, severity: Literal["error", "warning", "info"], rows: Sequence[Row], reason: str, fix: str
) -> Iterator[Finding]:
    """One finding, or none where no row is concerned. The message is the reason, then ` Fix: ` and what to do."""
    if rows:
        ids = tuple(dict.fromkeys(row.example.id for row in rows))
        yield Finding(name=name, severity=severity, message=f"{reason}{FIX}{fix}", count=len(rows), rows=ids)


def error_above(odd: Sequence[Row], rows: Sequence[Row], *, share: float = 0.01) -> Literal["error", "warning"]:
    """The severity of what a text may hold on purpose: an error if more than this share of the rows hold it."""
    return "error" if len(odd) > share * len(rows) else "warning"


def shared(part: Sequence[object], whole: Sequence[object]) -> str:
    """How many of how many, as words of a message: `3 of 120 (2.5%)`."""
    return f"{len(part):,} of {len(whole):,} ({len(part) / max(1, len(whole)):.1%})"


def plain(text: str) -> str:
    """The text without fenced and inline code, in which tags and entities are meant."""
    return _CODE.sub(" ", text) if "`" in text else text
