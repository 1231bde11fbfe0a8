"""Checking a card: it is made again from its artifacts, and every line that differs is named with what it should say."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith import __version__
from tunesmith.ship.card.material import Material
from tunesmith.ship.card.write import options_in, own_notes, write_card

__all__ = ["Drift", "drift", "number_drift", "same_version"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A line of a card that its artifacts do not give. `line` counts from 1; `found` or `expected` may be empty."""

    line: int
    found: str
    expected: str

    def text(self) -> str:
        """The difference in one sentence."""
        if not self.expected:
            return f"line {self.line} comes from no artifact: {self.found!r}"
        if not self.found:
            return f"before line {self.line} a line is missing: {self.expected!r}"
        return f"line {self.line} says {self.found!r}, and the artifacts give {self.expected!r}"


def drift(text: str, material: Material) -> list[Drift]:
    """Every difference between a card and what its artifacts give now. The author's notes may say anything.

    Raises:
        ArtifactError: the text is not a card, or was written by another version.
    """
    again = write_card(material, options_in(text), kept_notes=own_notes(text)).text
    held, made = text.replace("\r\n", "\n").split("\n"), again.split("\n")
    found = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, held, made, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        for place in range(max(b - a, d - c)):
            here = held[a + place] if a + place < b else ""
            there = made[c + place] if c + place < d else ""
            if here or there:
                found.append(Drift(line=min(a + place, max(b - 1, a)) + 1, found=here, expected=there))
    return found


def same_version(text: str) -> bool:
    """Whether the card was written by this version, whose words can be compared; of another one, only the numbers can."""
    return options_in(text).version == __version__


def number_drift(listed: Mapping[str, Any], text: str, material: Material) -> list[str]:
    """For a card of another version: numbers of `card.json` that its artifacts do not hold, or that the card does not show."""
    wrong = []
    for number in listed["numbers"]:
        path = [int(step) if step.isdigit() else step for step in number["pointers"][0].split("/")[1:]]
        held = material.at(number["of"], number["file"], *path)
        if len(number["pointers"]) == 1 and number["value"] != held:
            wrong.append(f"{number['name']}: the card says {number['text']}, {number['of']} {number['file']} holds {held!r}")
        elif number["text"] not in text:
            wrong.append(f"{number['name']}: the card does not show {number['text']}")
    return wrong
