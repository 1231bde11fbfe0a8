"""The reward of this recipe: the right number in the form that was asked for, and a little for the form alone."""

from __future__ import annotations

import re

_FORM = re.compile(r"\s*ANSWER: (-?\d+)\s*")


def right(answer: str, reference: str) -> float:
    """1 for the reference's number after "ANSWER: " and nothing else; 0.2 for another number in that form; else 0."""
    found, wanted = _FORM.fullmatch(answer), _FORM.fullmatch(reference)
    if found is None or wanted is None:
        return 0.0
    return 1.0 if found[1] == wanted[1] else 0.2
