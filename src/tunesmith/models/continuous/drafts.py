"""Drafts: guesses of an answer's next tokens, which the model checks in one pass (speculative decoding).

A draft never changes an answer, only how many passes it takes: the row's own choice after every accepted token decides.
N-gram drafts are prompt lookup (Saxena 2023): what followed the longest earlier occurrence of the last tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tunesmith.models.continuous.forward import Costs

__all__ = ["Chance", "Drafter", "Lookup", "NGrams", "Writing", "share"]

_SHORTEST, _LONGEST = 2, 16  # tokens that an earlier occurrence shares with the end of the text
_OCCURRENCES = 8  # latest ones of the shortest n-gram that are compared
_PRIOR = 0.7  # how likely a row's first guess is right
_MEMORY = 0.9  # what is left of the evidence on a row after each further guess


class Writing(Protocol):
    """What a drafter sees of an answer that is being written. `draft` is for its own notes."""

    draft: Any

    def since(self, place: int) -> Sequence[int]:
        """The tokens of prompt and answer from this place on."""


class Drafter(Protocol):
    """Makes drafts for answers."""

    @property
    def bytes_per_token(self) -> int:
        """Of its own memory."""

    def draft(self, rows: Sequence[Writing], most: Sequence[int], costs: Costs) -> list[list[int]]:
        """At most so many tokens for each row; fewer, or none, where they would cost more than they save. `costs`: those of a
        pass of the model that checks them."""

    def left(self, row: Writing) -> None:
        """A row has ended."""


@dataclass(slots=True)
class Chance:
    """How likely a row's next guess is right, from its guesses so far; recent ones count more."""

    hits: float = 0.0
    tries: float = 0.0

    def compare(self, guessed: Sequence[int], came: Sequence[int]) -> int:
        """Learn from what came in place of a guess, up to the first wrong token; returns how many were right."""
        pairs = list(zip(guessed, came, strict=False))
        right = next((n for n, (one, other) in enumerate(pairs) if one != other), len(pairs))
        for _ in range(right):
            self._count(1.0)
        if right < len(pairs):
            self._count(0.0)
        return right

    def forget(self) -> None:
        """A pass without a guess: the evidence grows old, so that a guess is tried again some time."""
        self.hits, self.tries = _MEMORY * self.hits, _MEMORY * self.tries

    def _count(self, right: float) -> None:
        self.hits, self.tries = _MEMORY * self.hits + right, _MEMORY * self.tries + 1

    @property
    def value(self) -> float:
        """The mean of a beta distribution that began with the weight of one guess."""
        return (self.hits + _PRIOR) / (self.tries + 1)


def share(chances: Sequence[float], most: Sequence[int], costs: Costs, *, each: float = 0.0) -> list[int]:
    """How many draft tokens each row gets, so that the pass makes most tokens per second.

    The token number j of a draft is right with chance p^j. Tokens are taken in the order of that chance; how many of them is
    where expected tokens / seconds is largest. `each`: seconds to draft a token.
    """
    guesses = sorted(((p**j, -at) for at, p in enumerate(chances) for j in range(1, most[at] + 1)), reverse=True)
    expected = float(len(chances))
    taken, best = 0, expected / costs.of(len(chances))
    for count, (chance, _) in enumerate(guesses, start=1):
        expected += chance
        if (rate := expected / (costs.of(len(chances) + count) + each * count)) > best:
            taken, best = count, rate
    counts = [0] * len(chances)
    for _, at in guesses[:taken]:
        counts[-at] += 1
    return counts


class Lookup:
    """The text of a row, in which the longest earlier occurrence of its end is found in time that does not depend on its
    length."""

    def __init__(self) -> None:
        self.text: list[int] = []
        self._after: dict[tuple[int, ...], list[int]] = {}  # an n-gram of the shortest length → the places after it

    def add(self, tokens: Sequence[int]) -> None:
        """Take in what comes next."""
        for token in tokens:
            if len(self.text) >= _SHORTEST:  # the end of the text itself is not an earlier occurrence
                self._after.setdefault(tuple(self.text[-_SHORTEST:]), []).append(len(self.text))
            self.text.append(token)

    def continued(self, count: int) -> list[int]:
        """The `count` tokens that followed there; none if there is no such place. Of equally long ones the latest counts."""
        places = self._after.get(tuple(self.text[-_SHORTEST:]), ())[-_OCCURRENCES:]
        if not places:
            return []
        at = max(places, key=lambda place: (self._shared(place), place))
        found = self.text[at : at + count]
        while len(found) < count:  # the occurrence reaches the end of the text: what repeats is expected to repeat further
            found.append(found[len(found) - (len(self.text) - at)])
        return found

    def _shared(self, place: int) -> int:
        """Tokens before a place that equal those at the end."""
        text = self.text
        most = min(_LONGEST, place)
        return next((n for n in range(_SHORTEST, most) if text[place - 1 - n] != text[-1 - n]), most)


@dataclass(slots=True)
class _Notes:
    lookup: Lookup = field(default_factory=Lookup)
    chance: Chance = field(default_factory=Chance)
    guessed: list[int] = field(default_factory=list)


class NGrams:
    """Prompt lookup. A guess costs nothing until it is checked, so a row whose guesses are not checked is learned from too."""

    bytes_per_token = 0

    def draft(self, rows: Sequence[Writing], most: Sequence[int], costs: Costs) -> list[list[int]]:
        """See `Drafter`."""
        for row, count in zip(rows, most, strict=True):
            if row.draft is None:
                row.draft = _Notes()
            notes: _Notes = row.draft
            new = row.since(len(notes.lookup.text))
            notes.chance.compare(notes.guessed, new)
            notes.lookup.add(new)
            notes.guessed = notes.lookup.continued(max(count, 1))
        lengths = [min(count, len(row.draft.guessed)) for row, count in zip(rows, most, strict=True)]
        counts = share([row.draft.chance.value for row in rows], lengths, costs)
        return [row.draft.guessed[:count] for row, count in zip(rows, counts, strict=True)]

    def left(self, row: Writing) -> None:
        """Nothing is kept of a row but in itself."""
        row.draft = None
