"""Asking again with the reason: the first attempt and two more, then the piece of work is dropped and counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tunesmith.core.records import Message
from tunesmith.data.synth.gates import NOT_JSON, Fault, kind_of, object_in
from tunesmith.data.synth.generator import Asked, Generator
from tunesmith.data.synth.guard import speaks_to_a_model
from tunesmith.data.synth.outcome import Tally

__all__ = ["ATTEMPTS", "attempted", "decision", "told"]

ATTEMPTS = 3
T = TypeVar("T")


def told(reason: str) -> str:
    """The reason as it is told to the model: without the case at hand, if that could be an instruction."""
    return kind_of(reason) if speaks_to_a_model(reason) else reason


def attempted(work: Callable[[int, Sequence[str]], T], sample: str) -> tuple[T | None, Tally]:
    """What `work(attempt, reasons)` gives, tried again after a Fault with the reasons so far; None after three of them."""
    tally, reasons = Tally(), list[str]()
    for attempt in range(ATTEMPTS):
        try:
            return work(attempt, list(map(told, reasons))), tally
        except Fault as fault:
            reasons.append(str(fault))
            tally.refused[kind_of(str(fault))] += 1
    tally.drop(kind_of(reasons[-1]), sample)
    return None, tally


def decision(
    generator: Generator, prompt: Callable[[Sequence[str]], Sequence[Message]], key: str, allowed: Mapping[str, Any]
) -> tuple[Any, str, Asked]:
    """A judge's word, asked at temperature 0: what `allowed` makes of the value at `key`, the reason given, the reply.

    Raises:
        Fault: three replies without a word that is allowed.
    """
    refused: list[str] = []
    for attempt in range(ATTEMPTS):
        asked = generator.ask(prompt(refused), draw=attempt, temperature=0.0)
        try:
            value = object_in(asked.reply)
        except Fault as fault:
            refused = [told(str(fault))]
            continue
        word = value.get(key)
        if isinstance(word, str) and word.strip() in allowed:
            return allowed[word.strip()], " ".join(str(value.get("reason", "")).split())[:200], asked
        refused = [NOT_JSON]
    raise Fault("the judge gave no verdict")
