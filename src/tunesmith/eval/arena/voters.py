"""Each voter: how consistent they are with themselves, and whether they only ever choose one side.

A part of the pairs comes again with the sides swapped. Who prefers the same answer both times is consistent; who presses one
key whatever is shown is not, and is found by the share of left answers as well, since sides are random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from scipy import stats

from tunesmith.eval.arena.ballots import Ballot
from tunesmith.eval.arena.rates import VoteRate, rate_of

__all__ = ["VoterFigures", "agreement_between", "consistency", "voter_figures"]

_SIDE_SHARE = 0.9  # of decided votes for one side: with `_SIDE_P` the voter did not read
_SIDE_P = 0.001  # two-sided, exact binomial: eleven decided votes for the same side are enough


@dataclass(frozen=True, slots=True, kw_only=True)
class VoterFigures:
    """One voter. `left`: share of decided votes for the left answer, repeats included. `why`: why the votes do not count, or
    empty if they do."""

    name: str
    votes: int
    ties: int
    left: float | None
    left_p: float | None
    consistency: VoteRate
    why: str = ""

    @property
    def counted(self) -> bool:
        """Whether the votes are part of the results."""
        return not self.why

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        found = {"name": self.name, "votes": self.votes, "ties": self.ties, "left": self.left, "left_p": self.left_p}
        return {**found, "consistency": self.consistency.as_dict(), "counted": self.counted, "why": self.why}


def voter_figures(ballots: Sequence[Ballot]) -> list[VoterFigures]:
    """The figures of every voter, in the order of their first vote. `ballots` in the order in which they were cast."""
    return [_of_one(name, [x for x in ballots if x.voter == name]) for name in dict.fromkeys(x.voter for x in ballots)]


def _of_one(name: str, own: Sequence[Ballot]) -> VoterFigures:
    decided = [x for x in own if x.score != 0.5]
    left = sum(x.score_of(x.left) == 1 for x in decided)
    share = left / len(decided) if decided else None
    p = float(stats.binomtest(left, len(decided)).pvalue) if decided else None
    why = ""
    if share is not None and p is not None and p < _SIDE_P and max(share, 1 - share) >= _SIDE_SHARE:
        side, most = ("left", left) if share > 0.5 else ("right", len(decided) - left)
        why = f"{most} of {len(decided)} votes with a preference are for the {side} answer, and sides are random"
    first = [x for x in own if not x.again]
    return VoterFigures(
        name=name,
        votes=len(first),
        ties=sum(x.score == 0.5 for x in first),
        left=share,
        left_p=p,
        consistency=consistency(own),
        why=why,
    )


def consistency(ballots: Sequence[Ballot]) -> VoteRate:
    """How often the same voter gives the same pair the same vote when the sides are swapped: a system twice, or a tie twice."""
    first: dict[tuple[str, str, frozenset[str]], Ballot] = {}
    same, prompts = [], []
    for ballot in ballots:
        key = (ballot.voter, ballot.prompt, frozenset((ballot.a, ballot.b)))
        if not ballot.again:
            first.setdefault(key, ballot)
        elif key in first:
            same.append(float(ballot.turned(first[key].a).score == first[key].score))
            prompts.append(ballot.prompt)
    found = rate_of(same, prompts)
    return found if same else VoteRate(n=0, num_prompts=0, value=None, ci=None, why="no pair was shown a second time yet")


def agreement_between(ballots: Sequence[Ballot]) -> VoteRate:
    """How often two voters give the same pair the same vote, over all pairs of voters; each prompt counts as one."""
    by_pair: dict[tuple[str, frozenset[str]], list[Ballot]] = {}
    for ballot in ballots:
        if not ballot.again:
            by_pair.setdefault((ballot.prompt, frozenset((ballot.a, ballot.b))), []).append(ballot)
    same, prompts = [], []
    for (prompt, _), votes in by_pair.items():
        for one, other in combinations(votes, 2):
            if one.voter != other.voter:
                same.append(float(other.turned(one.a).score == one.score))
                prompts.append(prompt)
    if not same:
        return VoteRate(n=0, num_prompts=0, value=None, ci=None, why="no pair was judged by two voters")
    return rate_of(same, prompts)
