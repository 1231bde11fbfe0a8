"""From votes to results: who is preferred, how sure that is, how consistent the voters are, and what length explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.arena.ballots import LEAST, Ballot
from tunesmith.eval.arena.rates import VoteRate, rate_of, win_rate
from tunesmith.eval.arena.stopping import Decision, decide
from tunesmith.eval.arena.strengths import Strength, bradley_terry, length_controlled
from tunesmith.eval.arena.voters import VoterFigures, agreement_between, consistency, voter_figures
from tunesmith.eval.slices import Slices, slice_scores

__all__ = ["MOST_SYSTEMS", "ArenaResults", "PairFigures", "decision_of", "results_of"]

MOST_SYSTEMS = 8
_DRAWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFigures:
    """Two systems: votes for `a`, for `b`, ties, and how often `a` is preferred (a tie is half a win)."""

    a: str
    b: str
    wins_a: int
    wins_b: int
    ties: int
    rate_a: VoteRate


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaResults:
    """What the votes say. The win rate is that of `subject`, the last system, against all others; a tie is half a win.

    `votes`, `wins` and `ties` count the first votes of voters who are counted; `skips` are in no figure, nor are the votes in
    `excluded`. `decided`: share of the votes with a preference. `by_document`: the win rate with the interval that treats the
    prompts of one document as one observation, where documents have several. `at_equal_length`: the length-controlled win
    rate. `longer`: how often the longer answer is preferred. `words`: mean length of each system's answers. `strengths` are
    empty where `no_strengths` gives the reason. `pairs_left`: pairs that nobody has judged.
    """

    systems: tuple[str, ...]
    subject: str
    votes: int
    wins: Mapping[str, int]
    ties: int
    skips: int
    excluded: int
    win_rate: VoteRate
    decided: VoteRate
    by_document: VoteRate | None
    at_equal_length: VoteRate
    longer: VoteRate
    words: Mapping[str, float]
    consistency: VoteRate
    agreement: VoteRate
    voters: tuple[VoterFigures, ...]
    pairs: tuple[PairFigures, ...]
    strengths: tuple[Strength, ...]
    no_strengths: str
    slices: Slices | None
    decision: Decision
    pairs_left: int

    @property
    def measured(self) -> bool:
        """Whether there are enough votes for a win rate."""
        return self.win_rate.value is not None

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        if self.decision.state == "not measured":
            return f"Not measured: {self.decision.why}."
        lead = {"enough": "Enough to tell", "never": "Not decided", "more votes": "Not decided yet"}[self.decision.state]
        return f"{lead}: {self.decision.why}."

    @property
    def worst_slice(self) -> str:
        """The part in which the subject does worst, in a sentence; empty without slices."""
        said = "" if self.slices is None else self.slices.sentence
        return said.replace(" documents", " prompts").replace("the other items", "the other votes")

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith arena results --json` prints (docs/reference/scripting.md)."""
        d = self.decision
        return {
            "systems": list(self.systems),
            "votes": self.votes,
            "wins": dict(self.wins),
            "ties": self.ties,
            "skips": self.skips,
            "excluded": self.excluded,
            "pairs_left": self.pairs_left,
            "consistency": self.consistency.as_dict(),
            "win_rate": {"system": self.subject, **self.win_rate.as_dict()},
            "decision": d.state,
            "better": d.better,
            "why": d.why,
            "in_the_running": list(d.remaining),
            "tests": [_test(test) for test in d.tests],
            "decided": self.decided.as_dict(),
            "by_document": None if self.by_document is None else self.by_document.as_dict(),
            "length": {
                "words": dict(self.words),
                "longer_preferred": self.longer.as_dict(),
                "win_rate_at_equal_length": self.at_equal_length.as_dict(),
            },
            "pairs": [_pair(pair) for pair in self.pairs],
            "strengths": [
                {"system": s.system, "value": s.value, "ci": [s.ci.low, s.ci.high], "win_chance": s.win_chance}
                for s in self.strengths
            ],
            "no_strengths": self.no_strengths,
            "slices": [] if self.slices is None else [_slice(one) for one in self.slices.slices],
            "worst_slice": self.worst_slice,
            "voters": [voter.as_dict() for voter in self.voters],
            "agreement": self.agreement.as_dict(),
        }


def _test(test: Any) -> dict[str, Any]:
    names = ("a", "b", "wins", "losses", "evidence", "level", "better", "chance", "about_more")
    return {**{name: getattr(test, name) for name in names}, "share": list(test.share)}


def _pair(pair: PairFigures) -> dict[str, Any]:
    names = ("a", "b", "wins_a", "wins_b", "ties")
    return {**{name: getattr(pair, name) for name in names}, "rate_a": pair.rate_a.as_dict()}


def _slice(one: Any) -> dict[str, Any]:
    ci = None if one.score.ci is None else [one.score.ci.low, one.score.ci.high]
    return {"by": one.by, "value": one.value, "n": one.n, "mean": one.score.mean, "ci": ci}


def results_of(
    ballots: Sequence[Ballot],
    systems: Sequence[str],
    *,
    pairs: Mapping[frozenset[str], Sequence[str]],
    skips: int = 0,
    words: Mapping[str, float] | None = None,
) -> ArenaResults:
    """The results of an arena. `ballots` in the order in which they were cast, without skips; `pairs`: the prompts on which two
    systems are compared, voted on or not.

    EvaluationError for fewer than two systems, more than eight, one twice, or a vote on another system.
    """
    _check(ballots, systems)
    voters = voter_figures(ballots)
    away = {voter.name for voter in voters if not voter.counted}
    counted = [x for x in ballots if x.voter not in away]
    votes = [x for x in counted if not x.again]
    subject = systems[-1]
    rate = win_rate(counted, subject)
    decision = _decision(counted, systems, pairs, voters)
    strengths, no_strengths = _strengths(votes, systems)
    seen = {(frozenset((x.a, x.b)), x.prompt) for x in votes}
    return ArenaResults(
        systems=tuple(systems),
        subject=subject,
        votes=len(votes),
        wins={name: sum(x.score_of(name) == 1 for x in votes if name in (x.a, x.b)) for name in systems},
        ties=sum(x.score == 0.5 for x in votes),
        skips=skips,
        excluded=sum(x.voter in away and not x.again for x in ballots),
        win_rate=rate,
        decided=_decided(votes, subject),
        by_document=_by_document(votes, subject),
        at_equal_length=length_controlled(votes, subject),
        longer=_longer(votes),
        words=dict(words or {}),
        consistency=consistency(counted or ballots),
        agreement=agreement_between(counted),
        voters=tuple(voters),
        pairs=tuple(_figures(votes, a, b) for a, b in combinations(systems, 2)),
        strengths=strengths,
        no_strengths=no_strengths,
        slices=_slices(votes, subject),
        decision=decision,
        pairs_left=sum((pair, prompt) not in seen for pair, prompts in pairs.items() for prompt in prompts),
    )


def decision_of(
    ballots: Sequence[Ballot], systems: Sequence[str], *, pairs: Mapping[frozenset[str], Sequence[str]]
) -> Decision:
    """Only the decision of `results_of`: what a page asks for after each vote. Errors as there."""
    _check(ballots, systems)
    voters = voter_figures(ballots)
    away = {voter.name for voter in voters if not voter.counted}
    return _decision([x for x in ballots if x.voter not in away], systems, pairs, voters)


def _check(ballots: Sequence[Ballot], systems: Sequence[str]) -> None:
    if not 2 <= len(set(systems)) == len(systems) <= MOST_SYSTEMS:
        raise EvaluationError(
            "an arena compares two to eight different systems",
            value=list(systems),
            expected="two names or more, each once",
            hint="tunesmith arena --system base --system tuned",
        )
    if foreign := {name for x in ballots for name in (x.a, x.b)} - set(systems):
        raise EvaluationError(
            "a vote is about a system that is not in this arena",
            value=sorted(foreign),
            expected=f"one of {', '.join(systems)}",
            hint="restore votes.jsonl as it was written",
        )


def _decision(
    counted: Sequence[Ballot],
    systems: Sequence[str],
    pairs: Mapping[frozenset[str], Sequence[str]],
    voters: Sequence[VoterFigures],
) -> Decision:
    """The rule of `stopping`; not measured where no vote counts, or where all pairs are judged without enough preferences."""
    votes = [x for x in counted if not x.again]
    seen = {(frozenset((x.a, x.b)), x.prompt) for x in votes}
    left = {pair: sum((pair, prompt) not in seen for prompt in prompts) for pair, prompts in pairs.items()}
    found = _by_all_votes(decide(counted, systems, left), votes, pairs_left=sum(left.values()))
    preferences = sum(x.score != 0.5 for x in votes)
    if found.state == "enough" or preferences >= LEAST:
        return found
    reasons = [f"{voter.name}: {voter.why}" for voter in voters if voter.why]
    if not votes and reasons:
        why = "; ".join(reasons)
    elif votes and not preferences:
        why = f"no preference in {len(votes)} votes: all are ties"
    else:
        why = f"{len(votes)} votes, {preferences} of them with a preference; at least {LEAST} are needed"
    return Decision(state="not measured", better=None, why=why, remaining=tuple(systems), tests=found.tests)


def _by_all_votes(found: Decision, votes: Sequence[Ballot], *, pairs_left: int) -> Decision:
    """The decision, unless further votes on the same prompts leave it open: the rule reads the first vote on each prompt alone,
    and whoever votes first must not outvote all others."""
    prompts = {(frozenset((x.a, x.b)), x.prompt) for x in votes}
    if found.better is None or len(prompts) == len(votes):
        return found
    rate = win_rate(votes, found.better)
    if rate.ci is not None and rate.ci.low > 0.5:
        return replace(found, why=f"{found.why}; of several votes on a prompt the rule reads the first")
    ends = f" [{100 * rate.ci.low:.0f}, {100 * rate.ci.high:.0f}]" if rate.ci else ""
    share = "" if rate.value is None else f": {found.better} {100 * rate.value:.0f} %{ends}"
    why = f"the first votes on each prompt prefer {found.better}, but all {len(votes)} votes together do not tell{share}"
    return replace(found, state="more votes" if pairs_left else "never", better=None, why=why)


def _decided(votes: Sequence[Ballot], subject: str) -> VoteRate:
    own = [x for x in votes if subject in (x.a, x.b) and x.score != 0.5]
    return rate_of([x.score_of(subject) for x in own], [x.prompt for x in own])


def _by_document(votes: Sequence[Ballot], subject: str) -> VoteRate | None:
    """None where each prompt has a document of its own: then it is the win rate itself."""
    documents = {x.document or x.prompt for x in votes}
    return None if len(documents) == len({x.prompt for x in votes}) else win_rate(votes, subject, by="document")


def _longer(votes: Sequence[Ballot]) -> VoteRate:
    uneven = [x for x in votes if x.words_a != x.words_b and x.score != 0.5]
    if not uneven:
        why = "no vote with a preference between answers of unlike length"
        return VoteRate(n=0, num_prompts=0, value=None, ci=None, why=why)
    return rate_of([float((x.score == 1) == (x.words_a > x.words_b)) for x in uneven], [x.prompt for x in uneven])


def _figures(votes: Sequence[Ballot], a: str, b: str) -> PairFigures:
    own = [x.turned(a) for x in votes if {x.a, x.b} == {a, b}]
    wins_a, wins_b = sum(x.score == 1 for x in own), sum(x.score == 0 for x in own)
    return PairFigures(a=a, b=b, wins_a=wins_a, wins_b=wins_b, ties=len(own) - wins_a - wins_b, rate_a=win_rate(own, a))


def _strengths(votes: Sequence[Ballot], systems: Sequence[str]) -> tuple[tuple[Strength, ...], str]:
    """Strengths of three systems or more; for two the win rate says the same."""
    if len(systems) < 3:
        return (), "two systems: the win rate says it all"
    try:
        return tuple(bradley_terry(votes, systems)), ""
    except EvaluationError as error:
        problem = error.problems[0]
        return (), f"{problem.what}: {problem.value}"


def _slices(votes: Sequence[Ballot], subject: str) -> Slices | None:
    own = [x for x in votes if subject in (x.a, x.b)]
    sources = {x.about.get("source") for x in own}
    few = len(sources) <= len({x.document or x.prompt for x in own}) / 2  # a source for each document says nothing
    about = [{k: v for k, v in x.about.items() if few or k != "source"} for x in own]
    if not any(about):
        return None
    return slice_scores([x.score_of(subject) for x in own], [x.prompt for x in own], about, widest=1.0, draws=_DRAWS)
