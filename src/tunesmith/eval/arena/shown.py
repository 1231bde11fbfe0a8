"""What is shown: questions with two answers each, and in which order and on which side each voter sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from tunesmith.core.records import FinishReason, Message, digest

__all__ = ["Pair", "Response", "Showing", "draw_pairs", "schedule"]

_BLOCK = 10  # one pair of ten comes again
_LEAST = 5  # pairs of an arena below which none does


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The answer of a system. `seed` and `draw` say how it was sampled; None for greedy answers."""

    system: str
    text: str
    finish_reason: FinishReason
    seed: int | None = None
    draw: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A question and the answers of two systems. `round`: the pairs of earlier rounds are shown first.

    `document` is what the question was made from, `about` are facts about it (source, author, date, tag).
    """

    id: str
    item_id: str
    document: str
    prompt: tuple[Message, ...]
    a: Response
    b: Response
    round: int = 0
    about: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def systems(self) -> frozenset[str]:
        """Whose answers they are."""
        return frozenset((self.a.system, self.b.system))

    def response(self, system: str) -> Response:
        """The answer of one of the two."""
        return self.a if self.a.system == system else self.b


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """A pair in front of a voter, with the answer of the system `left` on the left. `again`: for the second time, swapped."""

    pair: Pair
    left: str
    again: bool

    @property
    def sides(self) -> tuple[Response, Response]:
        """The answers from left to right."""
        both = (self.pair.a, self.pair.b)
        return both if self.pair.a.system == self.left else (both[1], both[0])

    @property
    def right(self) -> str:
        """The system on the right."""
        return self.sides[1].system


def draw_pairs(
    questions: Sequence[tuple[str, str, tuple[Message, ...], Mapping[str, str]]],
    responses: Mapping[str, Sequence[Response | None]],
    *,
    most: int,
    seed: int,
) -> tuple[list[Pair], int]:
    """Pairs of answers, at most `most`, and how many were left out because both answers are the same.

    `questions`: id, document, prompt and facts of each; `responses`: by system, in the order of the questions, None without an
    answer. Each round has every question once; between several systems, each combination comes up equally often.
    """
    combos = list(combinations(responses, 2))
    made: list[Pair] = []
    same = 0
    order = sorted(range(len(questions)), key=lambda i: digest(str(seed), "order", questions[i][0]))
    for number in range(len(combos)):
        for position, i in enumerate(order):
            id, document, prompt, about = questions[i]
            a, b = combos[(position + number) % len(combos)]
            one, other = responses[a][i], responses[b][i]
            if one is None or other is None:
                continue
            if one.text == other.text:
                same += 1
                continue
            name = digest(str(seed), id, a, b)[:12]
            made.append(Pair(id=name, item_id=id, document=document, prompt=prompt, a=one, b=other, round=number, about=about))
    return made[:most], same


def schedule(pairs: Sequence[Pair], voter: str, *, seed: int) -> list[Showing]:
    """Everything that a voter is shown, in order: a function of the arena's seed and the voter's name, and of nothing else.

    After ten pairs one of the first five of them comes again with the sides swapped.
    """
    order = sorted(pairs, key=lambda pair: (pair.round, digest(str(seed), "order", voter, pair.id)))
    shown: list[Showing] = []
    for start in range(0, len(order), _BLOCK):
        block = [_showing(pair, voter, seed) for pair in order[start : start + _BLOCK]]
        shown += block
        if len(block) == _BLOCK or (start == 0 and len(block) >= _LEAST):
            first = block[_number(seed, "again", voter, str(start)) % max(1, len(block) // 2)]
            shown.append(Showing(pair=first.pair, left=first.right, again=True))
    return shown


def _showing(pair: Pair, voter: str, seed: int) -> Showing:
    left = (pair.a, pair.b)[_number(seed, "side", voter, pair.id) % 2]
    return Showing(pair=pair, left=left.system, again=False)


def _number(seed: int, *parts: str) -> int:
    return int(digest(str(seed), *parts)[:12], 16)
