"""Drafts by a smaller model with the same tokens (Leviathan et al. 2023, with its likeliest token as the guess)."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.models.continuous.drafts import Chance, Writing, share
from tunesmith.models.continuous.forward import Costs, Forward, Part

__all__ = ["DraftModel"]

_SHORT = 16  # unread tokens that are read like an answer's newest; more of them like a piece of a prompt


@dataclass(slots=True)
class _Notes:
    slot: int
    read: int = 0  # tokens of the text that are in the draft model's memory
    guessed: list[int] = field(default_factory=list)
    chance: Chance = field(default_factory=Chance)


class DraftModel:
    """A model that writes ahead of another, with keys and values of its own in slots of its own.

    It takes the tokens that it finds likeliest, whatever the row's own settings are. Rows beyond `context`, and those whose
    prompt it has not read yet (`piece_tokens` in a pass, for all rows), get no draft. `vocabulary`: of the model that checks.
    """

    def __init__(self, model: Any, *, vocabulary: int, context: int, piece_tokens: int, costs: Costs | None = None) -> None:
        self._forward = Forward(model)
        self._vocabulary = min(vocabulary, self._forward.vocabulary)
        self._context = min(context, self._forward.longest or context)
        self._piece_tokens = piece_tokens
        self._costs = costs or self._forward.costs()
        self._free: list[int] = []
        self._slots = 0
        self.bytes_per_token = self._forward.bytes_per_token

    def draft(self, rows: Sequence[Writing], most: Sequence[int], costs: Costs) -> list[list[int]]:
        """See `Drafter`."""
        unread = [self._unread(row) for row in rows]
        ends = [row.draft.read + len(new) for row, new in zip(rows, unread, strict=True)]
        fitting = [count if end + count <= self._context else 0 for end, count in zip(ends, most, strict=True)]
        each = self._costs.of(len(rows)) / len(rows)
        counts = share([row.draft.chance.value for row in rows], fitting, costs, each=each)
        for row, fits, count in zip(rows, fitting, counts, strict=True):
            if fits and not count:
                row.draft.chance.forget()
        now = [at for at, count in enumerate(counts) if count]
        if now:
            self._forward.memory.reserve(self._slots, max(ends[at] + counts[at] for at in now))
            now = self._read({at: rows[at].draft for at in now}, unread)
        while now := [at for at in now if len(rows[at].draft.guessed) < counts[at]]:
            self._guess([rows[at].draft for at in now])
        return [row.draft.guessed for row in rows]

    def left(self, row: Writing) -> None:
        """Another row may have its slot."""
        if row.draft is None:
            return
        heapq.heappush(self._free, row.draft.slot)
        row.draft = None
        if len(self._free) == self._slots:
            self._free, self._slots = [], 0
            self._forward.memory.release(1, 1)

    def _unread(self, row: Writing) -> Sequence[int]:
        """What the model has not read of a row. Its own guesses that were right are in its memory already, but for the last
        one, after which it was not asked."""
        if row.draft is None:
            row.draft = _Notes(heapq.heappop(self._free) if self._free else self._slots)
            self._slots = max(self._slots, row.draft.slot + 1)
        notes: _Notes = row.draft
        right = notes.chance.compare(notes.guessed, row.since(notes.read))
        notes.read += min(right, max(len(notes.guessed) - 1, 0))
        notes.guessed = []
        return row.since(notes.read)

    def _read(self, notes: Mapping[int, _Notes], unread: Sequence[Sequence[int]]) -> list[int]:
        """Read what is new of these rows, and guess a token after each that was read to its end; which ones these are."""
        budget, parts, whole = self._piece_tokens, list[Part](), list[int]()
        for at, own in notes.items():
            new = unread[at]
            is_piece = len(new) > _SHORT
            count = min(len(new), budget) if is_piece else len(new)
            if count:
                parts.append(Part(own.slot, own.read, new[:count], wanted=int(count == len(new)), is_piece=is_piece))
            budget -= count if is_piece else 0
            own.read += count
            if count == len(new):
                whole.append(at)
        for at, token in zip(whole, self._likeliest(parts), strict=True):
            notes[at].guessed.append(token)
        return whole

    def _guess(self, notes: Sequence[_Notes]) -> None:
        """One more token for each of these rows."""
        parts = [Part(own.slot, own.read + len(own.guessed) - 1, own.guessed[-1:]) for own in notes]
        for own, token in zip(notes, self._likeliest(parts), strict=True):
            own.guessed.append(token)

    def _likeliest(self, parts: Sequence[Part]) -> list[int]:
        found: list[int] = self._forward.run(parts)[:, : self._vocabulary].argmax(-1).tolist()
        return found
