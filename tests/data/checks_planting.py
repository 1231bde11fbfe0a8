"""How faults are planted: a kind of fault, and the ways a clean row gets it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from checks_clean import clean_rows, conversation, swapped

from tunesmith.core.records import Example

__all__ = [
    "Fault",
    "Plant",
    "answer_of",
    "digits",
    "hex_digits",
    "in_turn",
    "inserted",
    "letters",
    "one_of",
    "prompt_of",
    "turns_of",
]

Plant = Callable[[Example, random.Random, int], Example]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault: what it is, which finding must name the row, and how a clean row gets it."""

    kind: str
    finding: str
    plant: Plant
    base: Callable[[int], list[Example]] = clean_rows


def answer_of(make: Callable[[str, random.Random, int], str]) -> Plant:
    return lambda row, draw, n: swapped(row, answer=make(row.answer, draw, n))


def prompt_of(make: Callable[[str, random.Random, int], str]) -> Plant:
    return lambda row, draw, n: swapped(row, prompt=make(row.messages[0].content, draw, n))


def in_turn(texts: Sequence[str]) -> Callable[[str, random.Random, int], str]:
    """One after the other, with the number of the row where a text has room for it."""
    return lambda text, draw, n: texts[n % len(texts)].format(n=n)


def inserted(make: Callable[[random.Random, int], str]) -> Plant:
    """Somewhere between two sentences of the answer."""

    def plant(answer: str, draw: random.Random, n: int) -> str:
        sentences = answer.split(". ")
        sentences.insert(draw.randint(1, len(sentences) - 1), make(draw, n))
        return ". ".join(sentences)

    return answer_of(plant)


def turns_of(make: Callable[[str, str], Sequence[tuple[str, str]]]) -> Plant:
    return lambda row, draw, n: conversation(row.id, *make(row.messages[0].content, row.answer), group=row.group)


def one_of(*texts: str) -> Callable[[str, random.Random, int], str]:
    return lambda text, draw, n: texts[n % len(texts)].format(text=text, lower=text[:1].lower() + text[1:], n=n)


def letters(
    draw: random.Random, length: int, alphabet: str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
) -> str:
    return "".join(draw.choices(alphabet, k=length))


def digits(draw: random.Random, length: int) -> str:
    return str(draw.randint(1, 9)) + letters(draw, length - 1, "0123456789")


def hex_digits(draw: random.Random, length: int) -> str:
    return letters(draw, length, "0123456789abcdef")
