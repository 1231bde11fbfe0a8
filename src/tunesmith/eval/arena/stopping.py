"""When to stop voting: a rule that stays true however often somebody reads the result, and after whichever vote they stop.

A fixed test repeated after each vote finds a difference sooner or later where there is none. Here the evidence against "both
are preferred equally often" is an e-process: the likelihood of the decided votes, averaged over all shares with a uniform
weight, over their likelihood at one half:

    E_n = B(1 + wins, 1 + losses) / B(1, 1) · 2ⁿ                (B: the beta function)

If both are preferred equally often, E_n is a non-negative martingale that begins at 1, so the chance that it ever reaches
1 / 0.05 is at most 5 % (Ville 1939; Robbins 1970, "Statistical methods related to the law of the iterated logarithm"; Ramdas,
Grünwald, Vovk and Shafer 2023, "Game-theoretic statistics and safe anytime-valid inference"). All shares whose own e-process
is below that limit are the confidence sequence. Ties say nothing about the direction and leave E_n as it is.

The prompts of an arena come in random order and only the first vote on each prompt counts here, so that votes may be taken as
independent. Stopping because a decision has become improbable makes no false decision likelier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln

from tunesmith.eval.arena.ballots import LEAST, Ballot, first_of_each_prompt

__all__ = [
    "ALPHA",
    "Decision",
    "PairTest",
    "State",
    "chance_to_decide",
    "confidence_sequence",
    "decide",
    "log_evidence",
    "pair_test",
]

ALPHA = 0.05  # chance of a false decision, over all votes and all pairs of systems
_HOPELESS = 0.02  # chance of a decision within the pairs that are left, below which voting on is not worth it
_EARLIEST = 10  # decided votes before it is called hopeless
_MOST = 100_000  # votes: further than that is not worth a forecast

State = Literal["enough", "never", "more votes", "not measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTest:
    """Two systems after the votes so far. `wins` and `losses` are of `a`, first votes on each prompt only, ties left out.

    `evidence` is the largest E_n so far, `level` the limit for a false decision about this pair. `better`: who is preferred, as
    soon as the evidence has ever reached 1 / level. `chance`: of a decision within the pairs that are left. `share` is the
    confidence sequence of the share of decided votes for `a`. `about_more`: decided votes still needed if the share stays.
    """

    a: str
    b: str
    wins: int
    losses: int
    evidence: float
    level: float
    better: str | None
    chance: float
    share: tuple[float, float]
    about_more: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether to go on voting. `better`: the system that is preferred to all others, if that is known.

    `state`: `enough` (it is known), `never` (the pairs that are left will hardly decide it), `more votes`, or `not measured`.
    `why` is a sentence with the numbers; `remaining`: systems that may still be the best.
    """

    state: State
    better: str | None
    why: str
    remaining: tuple[str, ...]
    tests: tuple[PairTest, ...]


def log_evidence(wins: float, losses: float, share: float = 0.5) -> float:
    """ln E_n against the hypothesis that a decided vote goes to the first system with probability `share`, inside 0 … 1.

    `wins` may be a sum of scores in 0 … 1 with mean `share`, and `losses` the sum of what each lacks to 1: each factor of the
    likelihood ratio is convex in the score and is 1 on average at both ends, so that E_n stays a supermartingale.
    """
    return float(betaln(1 + wins, 1 + losses)) - wins * math.log(share) - losses * math.log(1 - share)


def confidence_sequence(wins: float, losses: float, *, alpha: float = ALPHA) -> tuple[float, float]:
    """All shares that the votes do not exclude, whenever one stops: they contain the true one with probability 1 − alpha.

    Sums of scores in 0 … 1 may be given, as in `log_evidence`.
    """
    limit, n = math.log(1 / alpha), wins + losses
    if n == 0:
        return 0.0, 1.0
    edge = 1e-12
    peak = min(max(wins / n, 2 * edge), 1 - 2 * edge)

    def over(share: float) -> float:
        return log_evidence(wins, losses, share) - limit

    low = 0.0 if over(edge) < 0 else float(brentq(over, edge, peak))
    high = 1.0 if over(1 - edge) < 0 else float(brentq(over, peak, 1 - edge))
    return low, high


def chance_to_decide(wins: int, losses: int, left: int, *, alpha: float = ALPHA) -> float:
    """The chance that `left` further decided votes bring E_n to 1 / alpha, at a share drawn from what the votes say of it.

    Exact, by the number of wins after each vote (Beta-binomial with a uniform prior). It costs `left`² / 2 steps.
    """
    limit, n = math.log(1 / alpha), wins + losses
    if log_evidence(wins, losses) >= limit:
        return 1.0
    alive = np.ones(1)  # probability of each number of further wins, with no decision yet
    reached = 0.0
    for step in range(left):
        more = np.arange(step + 1)
        share = (1 + wins + more) / (2 + n + step)
        following = np.zeros(step + 2)
        following[1:] += alive * share
        following[:-1] += alive * (1 - share)
        won = wins + np.arange(step + 2)
        lost = n + step + 1 - won
        over = betaln(1 + won, 1 + lost) + (n + step + 1) * math.log(2) >= limit
        reached += float(following[over].sum())
        alive = np.where(over, 0.0, following)
    return reached


def _about_more(wins: int, losses: int, alpha: float) -> int | None:
    """Further decided votes until E_n reaches 1 / alpha if the share stays what it is; None if that is out of reach."""
    n, limit = wins + losses, math.log(1 / alpha)
    if n == 0 or wins == losses:
        return None
    sizes = n + np.arange(_MOST)
    grown = wins / n * sizes
    over = betaln(1 + grown, 1 + sizes - grown) + sizes * math.log(2) >= limit
    return int(over.argmax()) if over.any() else None


def pair_test(ballots: Sequence[Ballot], a: str, b: str, *, left: int, alpha: float = ALPHA) -> PairTest:
    """The rule for two systems. `ballots` in the order in which they were cast; `left`: prompts without a vote on this pair."""
    own = [x.turned(a) for x in ballots if {x.a, x.b} == {a, b} and not x.again]
    wins = losses = 0
    largest, better = 0.0, None
    for ballot in first_of_each_prompt(own):
        wins, losses = wins + (ballot.score == 1), losses + (ballot.score == 0)
        largest = max(largest, log_evidence(wins, losses))
        if better is None and largest >= math.log(1 / alpha):
            better = a if wins > losses else b
    return PairTest(
        a=a,
        b=b,
        wins=wins,
        losses=losses,
        evidence=math.exp(min(largest, 700.0)),
        level=alpha,
        better=better,
        chance=1.0 if better else chance_to_decide(wins, losses, left, alpha=alpha),
        share=confidence_sequence(wins, losses, alpha=alpha),
        about_more=0 if better else _about_more(wins, losses, alpha),
    )


def decide(ballots: Sequence[Ballot], systems: Sequence[str], left: dict[frozenset[str], int]) -> Decision:
    """Whether one system is known to be preferred to all others. `left`: prompts without a vote, by pair of systems.

    The 5 % are shared out evenly among the pairs of systems (Bonferroni), so that they hold for all decisions together. A
    system is out of the running once another one is decidedly preferred to it.
    """
    pairs = list(combinations(systems, 2))
    alpha = ALPHA / len(pairs)
    tests = [pair_test(ballots, a, b, left=left.get(frozenset((a, b)), 0), alpha=alpha) for a, b in pairs]
    beaten = {test.b if test.better == test.a else test.a for test in tests if test.better}
    remaining = tuple(name for name in systems if name not in beaten)
    decision = partial(Decision, remaining=remaining, tests=tuple(tests))
    if len(remaining) == 1:
        return decision(state="enough", better=remaining[0], why=_enough(remaining[0], tests))
    if not remaining:
        return decision(state="never", better=None, why="each system is preferred to another one, in a circle")
    open_tests = [test for test in tests if not test.better and {test.a, test.b} <= set(remaining)]
    if all(_hopeless(test, left.get(frozenset((test.a, test.b)), 0)) for test in open_tests):
        return decision(state="never", better=None, why=_never(open_tests, left))
    if all(test.wins + test.losses < LEAST for test in open_tests):
        given = sum(test.wins + test.losses for test in open_tests)
        why = f"{given} votes with a preference so far; no number below {LEAST} can decide"
        return decision(state="more votes", better=None, why=why)
    return decision(state="more votes", better=None, why=_more(open_tests))


def _hopeless(test: PairTest, left: int) -> bool:
    return left == 0 or (test.wins + test.losses >= _EARLIEST and test.chance < _HOPELESS)


def _enough(better: str, tests: Sequence[PairTest]) -> str:
    if len(tests) > 1:
        return f"{better} is preferred to every system that is still in the running; false with a chance of at most 5 %"
    test = tests[0]
    wins = max(test.wins, test.losses)
    n = test.wins + test.losses
    return f"{better} is preferred in {wins} of {n} votes with a preference; false with a chance of at most 5 %"


def _never(tests: Sequence[PairTest], left: dict[frozenset[str], int]) -> str:
    pairs = sum(left.get(frozenset((test.a, test.b)), 0) for test in tests)
    if not pairs:
        return "all pairs were judged, and the votes do not tell which system is preferred"
    chance = max(test.chance for test in tests)
    return f"the {pairs} pairs that are left would decide it with a chance of {100 * chance:.1f} %"


def _more(tests: Sequence[PairTest]) -> str:
    needed = [test.about_more for test in tests if test.about_more is not None]
    if len(tests) > 1 or not needed:
        return "the votes so far leave it open"
    return f"about {needed[0]} more votes with a preference would decide it if the share stays as it is"
