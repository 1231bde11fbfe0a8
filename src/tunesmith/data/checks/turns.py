"""Turns: their order, empty ones, user turns that ask nothing, and sets that mix kinds of conversation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tunesmith.core.records import Example, Finding
from tunesmith.data.checks.asking import asks
from tunesmith.data.checks.rows import Row, found, shared

__all__ = ["check_conversations", "check_empty", "check_questions", "check_roles", "check_system_prompts"]

_MIXED = 0.02  # a share smaller than this on either side is an exception, larger a mixture
_LEAST_SHARE = 0.10  # of the smaller kind in a mixture: below it, what is learned of that kind is little and uneven
_FEW = 20


def check_roles(rows: Sequence[Row]) -> Iterator[Finding]:
    """`roles`: turns that are not system (at most one, first), then user and assistant by turns, the assistant last."""
    odd = [row for row in rows if not _in_order(row.example)]
    yield from found(
        "roles",
        "error",
        odd,
        f"{shared(odd, rows)} rows have turns out of order; templates want system?, user, assistant …, assistant last.",
        "put the turns in order, merge neighbours of one role, or drop the rows.",
    )


def check_empty(rows: Sequence[Row]) -> Iterator[Finding]:
    """`empty_answers`, `empty_prompts`: nothing but blanks where something must be learned or asked."""
    answers = [row for row in rows if not row.answer.strip() and row.example.messages[-1:] and _ends_well(row.example)]
    yield from found(
        "empty_answers",
        "error",
        answers,
        f"{shared(answers, rows)} answers are empty: the model would learn to give empty answers.",
        "write the answers, or drop the rows.",
    )
    prompts = [row for row in rows if any(m.role == "user" and not m.content.strip() for m in row.example.messages)]
    yield from found(
        "empty_prompts",
        "error",
        prompts,
        f"{shared(prompts, rows)} rows have an empty user turn: their answers would be learned as replies to an empty prompt.",
        "write the prompts, or drop the rows.",
    )


def check_questions(rows: Sequence[Row]) -> Iterator[Finding]:
    """`questions`: last user turns that neither ask nor request (English wording; rows in other languages are passed over)."""
    asked = [row for row in rows if row.language in ("", "English") and row.said.strip()]
    odd = [
        row for row in asked if any(message.role == "user" and not asks(message.content) for message in row.example.prompt[-1:])
    ]
    yield from found(
        "questions",
        "warning",
        odd,
        f"{shared(odd, rows)} prompts are neither a question nor a request: often answers in the question's place.",
        "read them; reword those without a question, drop those that are answers.",
    )


def check_system_prompts(rows: Sequence[Row]) -> Iterator[Finding]:
    """`no_system_prompt`: rows without one where most have one. `system_prompts`: rows with another than the commonest."""
    if not rows:
        return
    without = [row for row in rows if not row.system]
    if without and len(without) < len(rows):
        few = without if len(without) <= len(rows) / 2 else [row for row in rows if row.system]
        have = "no" if few is without else "a"
        yield from found(
            "system_prompt_mix",
            "warning" if len(few) >= _MIXED * len(rows) else "info",
            few,
            f"{shared(few, rows)} rows have {have} system prompt, unlike the rest: two formats are learned, one is used.",
            "give every row the system prompt that you will use, or none.",
        )
    common = Counter(row.system for row in rows if row.system).most_common(2)
    if len(common) > 1 and common[0][1] >= len(rows) / 2:
        other = [row for row in rows if row.system and row.system != common[0][0]]
        yield from found(
            "system_prompts",
            "info",
            other,
            f"{shared(other, rows)} rows have another system prompt than the commonest one.",
            "keep one, unless the model is meant to follow several.",
        )


def check_conversations(rows: Sequence[Row]) -> Iterator[Finding]:
    """`conversations`: the smaller of the two kinds, one exchange or several, where a set holds both.

    Recommended is one kind alone, or 10 % of the smaller kind at least: a rule of thumb of ours, no measured border.
    """
    several = [row for row in rows if sum(message.role == "user" for message in row.example.messages) > 1]
    if not several or len(several) == len(rows) or len(rows) < _FEW:
        return
    one = [row for row in rows if sum(message.role == "user" for message in row.example.messages) == 1]
    few = several if len(several) <= len(one) else one
    little = f"; under {_LEAST_SHARE:.0%} of one kind is little to learn it from" if len(few) < _LEAST_SHARE * len(rows) else ""
    yield from found(
        "conversations",
        "info",
        few,
        f"{shared(several, rows)} rows are conversations of several exchanges, {shared(one, rows)} are a single one{little}.",
        "keep them if both will be used in about this proportion; otherwise add to the smaller kind or remove it.",
    )


def _ends_well(example: Example) -> bool:
    return example.messages[-1].role == "assistant"


def _in_order(example: Example) -> bool:
    roles = [message.role for message in example.messages]
    if roles[:1] == ["system"]:
        roles = roles[1:]
    return (
        bool(roles)
        and len(roles) % 2 == 0
        and all(role == ("user" if place % 2 == 0 else "assistant") for place, role in enumerate(roles))
    )
