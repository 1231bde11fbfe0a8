"""Votes as the evidence of an evaluation holds them: those between base and tuned model, to be judged again at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.eval.arena.ballots import Ballot
from tunesmith.eval.arena.results import ArenaResults, results_of
from tunesmith.eval.arena.stopping import State

__all__ = ["SIDES", "ArenaNote", "HeldVotes", "opinions", "results_between"]

SIDES = ("base", "tuned")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaNote:
    """A further arena of the same run: its id, what voters were asked, the votes between base and tuned model, when the last of
    them was cast (UTC), and the decision by the rule for stopping."""

    arena: str
    ask: str
    votes: int
    last: str
    state: State
    better: str | None

    @property
    def outcome(self) -> str:
        """In words."""
        return f"prefers {self.better}" if self.better else "undecided" if self.state == "never" else "not finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldVotes:
    """The votes of an arena, in the order in which they were cast. `prompts`: all on which base and tuned are compared there,
    voted on or not. `ask`: what voters were asked. `others`: further arenas of the same run that hold votes, and do not
    count."""

    arena: str
    ask: str
    ballots: tuple[Ballot, ...]
    prompts: tuple[str, ...]
    skips: int = 0
    others: tuple[ArenaNote, ...] = ()

    @property
    def said(self) -> str:
        """Which arena these votes are of, and what the others say."""
        if not self.others:
            return f"arena {self.arena[:8]}"
        others = ", ".join(f"{one.arena[:8]} ({one.votes} votes, {one.outcome})" for one in self.others)
        return f"arena {self.arena[:8]}; not counted: {others}"


def results_between(votes: HeldVotes) -> ArenaResults:
    """What the votes between base and tuned model say."""
    pair = frozenset(SIDES)
    own = [x for x in votes.ballots if {x.a, x.b} == pair]
    return results_of(own, SIDES, pairs={pair: votes.prompts}, skips=votes.skips)


def opinions(ballots: Sequence[Ballot]) -> Mapping[str, float]:
    """By prompt, the mean vote for the tuned model: 1 if all prefer it, 0 if all prefer the base; repeats are left out."""
    by_prompt: dict[str, list[float]] = {}
    for ballot in ballots:
        if not ballot.again and {ballot.a, ballot.b} == set(SIDES):
            by_prompt.setdefault(ballot.prompt, []).append(ballot.score_of(SIDES[1]))
    return {prompt: sum(scores) / len(scores) for prompt, scores in by_prompt.items()}
