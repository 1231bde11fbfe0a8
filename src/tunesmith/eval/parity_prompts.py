"""What two systems are asked when they are compared: a fixed set written for this, and prompts of a dataset.

The fixed set (`examples/parity.jsonl`) holds what conversions break first: other scripts, code, numbers, emoji, odd spaces, an
empty system prompt, several turns, and long texts near the limit of training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Example, Message, spread_over_documents

__all__ = ["CONTROL", "ParityPrompt", "dataset_prompts", "fixed_prompts", "lengthened"]

CONTROL = "control"
"""The kind of prompts that spell control tokens, which models in this process read as letters."""

_FIXED = Path(__file__).parent.parent / "examples" / "parity.jsonl"
_PLACES = {"{notes}": 1.0, "{half}": 0.5}  # what share of the room the notes take in their place
_NOTES = (
    "the hinge of the north door squeaks when it rains and is quiet in dry weather",
    "a drawer holds screws of eleven kinds, none of which fits the bench",
    "the lamp over the vice needs a new switch before the evenings get long",
    "all three chisels were sharpened by a visitor who left no name",
    "the glue sets too fast in July, so boards are joined in the morning",
    "two clamps are lent to the neighbour, who is building a boat",
    "the floor slopes by one finger from the window to the stove",
    "sawdust is kept dry for the hens, and never oak",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityPrompt:
    """A conversation that ends with a question. `kind`: what it is there for; `reference`: the author's answer, if known."""

    id: str
    kind: str
    messages: tuple[Message, ...]
    reference: str = ""


def fixed_prompts(count_tokens: Callable[[Sequence[Message]], int], room: int) -> list[ParityPrompt]:
    """The fixed set. Long ones are filled up to `room` tokens of a prompt, counted by `count_tokens`."""
    rows = (json.loads(line) for line in _FIXED.read_text(encoding="utf-8").splitlines())
    prompts = [
        ParityPrompt(id=row["id"], kind=row["kind"], messages=tuple(Message(**message) for message in row["messages"]))
        for row in rows
    ]
    return [lengthened(one, count_tokens, room) if one.kind == "long" else one for one in prompts]


def lengthened(prompt: ParityPrompt, count_tokens: Callable[[Sequence[Message]], int], room: int) -> ParityPrompt:
    """The prompt with notes in its place for them, as many as fit into `room` tokens (at least two)."""
    text = prompt.messages[-1].content
    place, share = next((name, share) for name, share in _PLACES.items() if name in text)

    def filled(count: int) -> tuple[Message, ...]:
        notes = "\n".join(f"Note {n + 1}: {_NOTES[n % len(_NOTES)]}." for n in range(count))
        return (*prompt.messages[:-1], Message(role="user", content=text.replace(place, notes)))

    low, high = 2, 4
    while count_tokens(filled(high)) <= room * share:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count_tokens(filled(middle)) <= room * share else (low, middle)
    return ParityPrompt(id=prompt.id, kind=prompt.kind, messages=filled(low))


def dataset_prompts(rows: Iterable[Example], count: int) -> list[ParityPrompt]:
    """Up to `count` rows of a split, spread over its documents. EvaluationError if it holds no question with an answer."""
    if not count:
        return []
    chosen = spread_over_documents([row for row in rows if row.messages and row.messages[-1].role == "assistant"], count)
    if not chosen:
        raise EvaluationError(
            "the dataset holds no question with an answer",
            value="0 rows",
            expected="rows of messages that end with the assistant's",
            hint="leave --dataset out to compare on the fixed prompts alone",
        )
    return [
        ParityPrompt(id=row.id, kind="dataset", messages=row.messages[:-1], reference=row.messages[-1].content)
        for row in chosen
    ]
