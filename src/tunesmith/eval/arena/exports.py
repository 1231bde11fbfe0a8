"""Votes as rows for other stages: preference pairs to learn from, and labels to calibrate a judge with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tunesmith.core.records import digest
from tunesmith.eval.arena.arena import Arena
from tunesmith.eval.arena.ballots import Ballot
from tunesmith.eval.arena.shown import Pair
from tunesmith.eval.arena.voters import voter_figures

__all__ = ["ExportKind", "Exported", "exported"]

ExportKind = Literal["preference", "labels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """`rows`, and how many judged pairs are not among them, by reason."""

    rows: tuple[Mapping[str, Any], ...]
    left_out: Mapping[str, int]


def exported(arena: Arena, kind: ExportKind, *, is_golden: Callable[[Pair], bool]) -> Exported:
    """One row for each judged pair. Voters who take one side whatever is shown are left out.

    `preference`: `prompt`, `chosen`, `rejected`, by the majority of the voters; ties, pairs on which voters disagree evenly, on
    which a voter changed their mind when the sides were swapped, and golden items are left out. `labels`: `id`, `prompt`, `a`,
    `b`, `human` (A, B or tie) or `annotators` of several voters (each at the same place in all rows, None where they did not
    judge), `group`, `system_a`, `system_b`; which system is a differs from pair to pair.
    """
    counted = [voter.name for voter in voter_figures(arena.ballots()) if voter.counted]
    rows: list[Mapping[str, Any]] = []
    left_out: Counter[str] = Counter()
    for pair, ballots in _by_pair(arena, counted):
        found = _preference(pair, ballots, is_golden) if kind == "preference" else _labels(pair, ballots, arena.seed, counted)
        if isinstance(found, str):
            left_out[found] += 1
        else:
            rows.append(found)
    return Exported(rows=tuple(rows), left_out=dict(left_out))


def _by_pair(arena: Arena, counted: Sequence[str]) -> Iterator[tuple[Pair, list[Ballot]]]:
    """The judged pairs with the votes that count, in the order of the pairs."""
    ballots = arena.ballots()
    for pair in arena.pairs:
        own = [x for x in ballots if x.prompt == pair.item_id and {x.a, x.b} == pair.systems and x.voter in counted]
        if own:
            yield pair, own


def _question(pair: Pair) -> Any:
    """The prompt as text where it is one user turn, else as a list of turns."""
    return pair.prompt[0].content if [m.role for m in pair.prompt] == ["user"] else [asdict(m) for m in pair.prompt]


def _preference(pair: Pair, ballots: Sequence[Ballot], is_golden: Callable[[Pair], bool]) -> Mapping[str, Any] | str:
    if is_golden(pair):
        return "golden items, which are never learned from"
    first = {x.voter: x for x in ballots if not x.again}
    if any(x.again and x.voter in first and x.score != first[x.voter].score for x in ballots):
        return "judged differently when the sides were swapped"
    balance = sum(x.score - 0.5 for x in first.values())
    if balance == 0:
        return "no preference" if all(x.score == 0.5 for x in first.values()) else "voters disagree"
    a, b = next(iter(first.values())).a, next(iter(first.values())).b
    chosen, rejected = (a, b) if balance > 0 else (b, a)
    return {
        "id": pair.id,
        "prompt": _question(pair),
        "chosen": pair.response(chosen).text,
        "rejected": pair.response(rejected).text,
        "group": pair.document,
    }


def _labels(pair: Pair, ballots: Sequence[Ballot], seed: int, voters: Sequence[str]) -> Mapping[str, Any]:
    turned = int(digest(str(seed), "label", pair.id)[:8], 16) % 2
    a, b = (pair.b, pair.a) if turned else (pair.a, pair.b)
    words = {1.0: "A", 0.0: "B", 0.5: "tie"}
    labels = {x.voter: words[x.score_of(a.system)] for x in ballots if not x.again}
    question = _question(pair)
    row = {
        "id": pair.id,
        "prompt": question if isinstance(question, str) else "\n\n".join(m.content for m in pair.prompt),
        "a": a.text,
        "b": b.text,
        "group": pair.document,
        "system_a": a.system,
        "system_b": b.system,
    }
    said = [labels.get(voter) for voter in voters]
    return row | ({"human": said[0]} if len(said) == 1 else {"annotators": said})
