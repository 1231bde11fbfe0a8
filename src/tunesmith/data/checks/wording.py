"""How prompts are worded: one instruction written in several ways, and first words that too many rows share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tunesmith.core.records import Finding
from tunesmith.data.checks.rows import Row, found, shared

__all__ = ["check_instructions", "check_openings", "opening"]

_FEWEST_ROWS = 50
_MOST_OPENING = 0.15
_OPENING_WORDS, _INSTRUCTION_WORDS = 3, 5
_ONE_TASK = 0.6


def check_openings(rows: Sequence[Row]) -> Iterator[Finding]:
    """`prompt_openings`, `answer_openings`: three first words that over 15 % of the rows share, from 50 rows on."""
    for field, severity in (("prompt", "warning"), ("answer", "info")):
        begins = [opening(row.said if field == "prompt" else row.answer) for row in rows]
        counts = Counter(begin for begin in begins if begin)
        if len(rows) < _FEWEST_ROWS or not counts:
            continue
        common = {begin for begin, count in counts.items() if count > _MOST_OPENING * len(rows)}
        odd = [row for row, begin in zip(rows, begins, strict=True) if begin in common]
        if odd:
            quoted = ", ".join(f"“{begin} …” {counts[begin]:,}" for begin in sorted(common, key=lambda b: (-counts[b], b)))
            yield from found(
                f"{field}_openings",
                "warning" if severity == "warning" else "info",
                odd,
                f"{shared(odd, rows)} {field}s begin with the same three words ({quoted}), over 15 % for one opening.",
                "reword part of them: the model learns the template, not the task."
                if field == "prompt"
                else "keep it if the form is intended; otherwise reword part of them.",
            )


def check_instructions(rows: Sequence[Row]) -> Iterator[Finding]:
    """`instruction_wording`: prompts worded otherwise, where at least 60 % begin with the same five words.

    Case counts: “Classify the …” and “classify the …” are two wordings.
    """
    begins = [" ".join(row.said[:120].split()[:_INSTRUCTION_WORDS]) for row in rows]
    counts = Counter(begins)
    if len(rows) < _FEWEST_ROWS or not counts:
        return
    most, count = counts.most_common(1)[0]
    if count < _ONE_TASK * len(rows) or count == len(rows) or len(most.split()) < _INSTRUCTION_WORDS:
        return
    odd = [row for row, begin in zip(rows, begins, strict=True) if begin != most]
    yield from found(
        "instruction_wording",
        "info",
        odd,
        f"{shared(odd, rows)} prompts word the instruction differently from the {count:,} that begin with “{most} …”.",
        "use one wording if you will always use one; otherwise vary the wording of all of them.",
    )


def opening(text: str) -> str:
    """The first three words in lower case, or "" where there are fewer."""
    first = text[:80].lower().split()[:_OPENING_WORDS]
    return " ".join(first) if len(first) == _OPENING_WORDS else ""
