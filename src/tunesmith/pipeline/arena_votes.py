"""The blind votes that an evaluation takes into its evidence: those between base and tuned model of its run.

A run may have several arenas: of other questions, or with another seed. The one that counts is the one that was finished last,
by the rule for stopping; the others are listed with what they say, and all of them share the level of the decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.files import verify
from tunesmith.core.records import digest, to_json
from tunesmith.eval.arena.arena import KIND, Arena, Vote
from tunesmith.eval.arena.held import SIDES, ArenaNote, HeldVotes
from tunesmith.eval.arena.results import decision_of
from tunesmith.eval.arena.stopping import Decision

__all__ = ["votes_id", "votes_on"]

_BETWEEN = frozenset(SIDES)


def votes_on(store: Store, run: Artifact) -> HeldVotes | None:
    """The votes in the arena of this run that was finished last, or in the one voted on last where none is finished. None
    without any vote between base and tuned model.

    EvaluationError for a damaged line of votes.
    """
    known = [one for one in store.all() if one.kind == KIND and run.reference() in one.manifest["inputs"]]
    opened = [
        _Voted(Arena.open(one))
        for one in known
        if set(SIDES) <= set(one.manifest["settings"]["systems"]) and verify(one.path) is not None
    ]
    voted = sorted((one for one in opened if one.votes), key=lambda one: (one.last, one.arena.file.stat().st_mtime_ns))
    if not voted:
        return None
    counts = next((one for one in reversed(voted) if one.is_finished), voted[-1])
    arena = counts.arena
    return HeldVotes(
        arena=arena.id,
        ask=arena.ask,
        ballots=tuple(arena.ballots(counts.votes)),
        prompts=counts.prompts,
        skips=sum(vote.choice == "skip" for vote in arena.votes()),
        others=tuple(one.note() for one in voted if one is not counts),
    )


def votes_id(store: Store, run: Artifact) -> str:
    """A hash of these votes: an evaluation with other votes is another one. Empty without any."""
    held = votes_on(store, run)
    return "" if held is None else digest(to_json(held).decode())


@dataclass(frozen=True)
class _Voted:
    """An arena with its votes between base and tuned model."""

    arena: Arena

    @cached_property
    def votes(self) -> list[Vote]:
        pairs = {pair.id for pair in self.arena.pairs if pair.systems == _BETWEEN}
        return [vote for vote in self.arena.votes() if vote.pair in pairs and vote.choice in ("left", "right", "tie")]

    @property
    def last(self) -> str:
        return max(vote.at for vote in self.votes)

    @property
    def prompts(self) -> tuple[str, ...]:
        return tuple(pair.item_id for pair in self.arena.pairs if pair.systems == _BETWEEN)

    @cached_property
    def decision(self) -> Decision:
        return decision_of(self.arena.ballots(self.votes), SIDES, pairs={_BETWEEN: self.prompts})

    @property
    def is_finished(self) -> bool:
        return self.decision.state in ("enough", "never")

    def note(self) -> ArenaNote:
        given = sum(not vote.again for vote in self.votes)
        d = self.decision
        return ArenaNote(arena=self.arena.id, ask=self.arena.ask, votes=given, last=self.last, state=d.state, better=d.better)
