"""The blind votes that an evaluation takes into its evidence: those between base and tuned model of its run."""

from __future__ import annotations

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.files import verify
from tunesmith.core.records import digest, to_json
from tunesmith.eval.arena.arena import KIND, Arena
from tunesmith.eval.arena.held import SIDES, HeldVotes

__all__ = ["votes_id", "votes_on"]


def votes_on(store: Store, run: Artifact) -> HeldVotes | None:
    """The votes in the arena of this run that was opened last, of those that hold votes; None without any.

    `store` is that of the project; arenas are in the folder around it. EvaluationError for a damaged line of votes.
    """
    outside = Store(store.root.parent)
    known = [one for one in outside.all() if one.kind == KIND and run.reference() in one.manifest["inputs"]]
    found = [
        Arena.open(one)
        for one in known
        if set(SIDES) <= set(one.manifest["settings"]["systems"]) and verify(one.path) is not None
    ]
    voted = sorted((arena for arena in found if arena.ballots()), key=lambda arena: arena.file.stat().st_mtime_ns)
    if not voted:
        return None
    last = voted[-1]
    between = frozenset(SIDES)
    return HeldVotes(
        arena=last.id,
        ask=last.ask,
        ballots=tuple(x for x in last.ballots() if {x.a, x.b} == between),
        prompts=tuple(pair.item_id for pair in last.pairs if pair.systems == between),
        skips=sum(vote.choice == "skip" for vote in last.votes()),
        others=len(voted) - 1,
    )


def votes_id(store: Store, run: Artifact) -> str:
    """A hash of these votes: an evaluation with other votes is another one. Empty without any."""
    held = votes_on(store, run)
    return "" if held is None else digest(to_json(held).decode())
