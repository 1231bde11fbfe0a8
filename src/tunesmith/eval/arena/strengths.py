"""Strengths of several systems from votes on pairs (Bradley and Terry 1952), and a win rate at equal length.

Both are logistic regressions of votes whose covariance is clustered by prompt (the sandwich estimator of Liang and Zeger 1986,
scaled by G / (G − 1) for G prompts, with t quantiles). A tie is half a win of each. Where the largest likelihood is at
infinity there is no number: systems that no vote connects, and a system that won or lost everything (Ford 1957).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import Interval
from tunesmith.eval.arena.ballots import LEAST, Ballot
from tunesmith.eval.arena.rates import VoteRate

__all__ = ["Strength", "bradley_terry", "length_controlled"]

Floats = NDArray[np.float64]
_LEVEL = 0.95
_STEPS = 100
_STEEP = 30.0  # log odds beyond which the likelihood has no maximum


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """A system's strength in log odds against an average opponent of the same arena, and the chance to be preferred to one."""

    system: str
    value: float
    ci: Interval
    win_chance: float


def bradley_terry(ballots: Sequence[Ballot], systems: Sequence[str]) -> list[Strength]:
    """The strength of each system, in the order of `systems`; their mean is 0. Repeated pairs do not count.

    EvaluationError if votes do not connect all systems, if one won or lost all its votes, or with fewer than two prompts.
    """
    votes = [ballot for ballot in ballots if not ballot.again]
    place = {name: number for number, name in enumerate(systems)}
    if foreign := {name for x in votes for name in (x.a, x.b)} - place.keys():
        raise _cannot("votes on systems that are not in this arena", sorted(foreign), "the systems of the arena")
    _check_connected(votes, place)
    design = np.zeros((len(votes), len(systems)))
    for row, ballot in enumerate(votes):
        design[row, place[ballot.a]], design[row, place[ballot.b]] = 1.0, -1.0
    others = np.eye(len(systems))[:, 1:]  # the first is the origin until all are centred
    fitted = _logistic(design @ others, [x.score for x in votes], [x.prompt for x in votes])
    if fitted is None:
        raise _cannot("the strengths have no finite estimate", len(votes), "more votes on other prompts")
    centred = np.eye(len(systems)) - 1.0 / len(systems)
    spread = centred @ others
    values, covariance = spread @ fitted.values, spread @ fitted.covariance @ spread.T
    half = fitted.quantile * np.sqrt(np.diag(covariance))
    method = f"Bradley–Terry, clustered by {fitted.num_groups} prompts"
    return [
        Strength(
            system=name,
            value=float(values[i]),
            ci=Interval(low=float(values[i] - half[i]), high=float(values[i] + half[i]), level=_LEVEL, method=method),
            win_chance=float(np.mean([expit(values[i] - values[j]) for j in range(len(systems)) if j != i])),
        )
        for i, name in enumerate(systems)
    ]


def length_controlled(ballots: Sequence[Ballot], system: str) -> VoteRate:
    """The win rate of `system` if both answers had the same length (Dubois et al. 2024, "Length-controlled AlpacaEval").

    Logistic regression of the votes on the tanh of the standardised difference in words; its value at no difference. Not
    measured where length and preference cannot be told apart.
    """
    own = [x.turned(system) for x in ballots if system in (x.a, x.b) and not x.again]
    prompts = [x.prompt for x in own]
    decided = sum(x.score != 0.5 for x in own)
    nothing = partial(VoteRate, n=len(own), num_prompts=len(set(prompts)), value=None, ci=None)
    if decided < 2 * LEAST:
        return nothing(why=f"{decided} votes with a preference; at least {2 * LEAST} are needed")
    longer = np.array([x.words_a - x.words_b for x in own], dtype=np.float64)
    if longer.std() == 0:
        return nothing(why="the difference in length is the same in all pairs")
    design = np.column_stack([np.ones(len(own)), np.tanh(longer / longer.std())])
    fitted = _logistic(design, [x.score for x in own], prompts)
    if fitted is None:
        return nothing(why="these votes cannot separate length from preference")
    middle, half = fitted.values[0], fitted.quantile * float(np.sqrt(fitted.covariance[0, 0]))
    low, high = (float(expit(middle + sign * half)) for sign in (-1, 1))
    interval = Interval(low=low, high=high, level=_LEVEL, method=f"logistic regression, {fitted.num_groups} prompts")
    return VoteRate(n=len(own), num_prompts=fitted.num_groups, value=float(expit(middle)), ci=interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitted:
    values: Floats
    covariance: Floats
    num_groups: int

    @property
    def quantile(self) -> float:
        return float(stats.t.ppf((1 + _LEVEL) / 2, self.num_groups - 1))


def _logistic(design: Floats, scores: Sequence[float], groups: Sequence[str]) -> _Fitted | None:
    """Newton's method; None where the likelihood has no maximum or fewer than two groups leave no spread."""
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    if len(names) < 2:
        return None
    y, values = np.array(scores), np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = expit(design @ values)
        information = design.T @ (design * (p * (1 - p))[:, None])
        if np.linalg.cond(information) > 1e12 or np.abs(values).max() > _STEEP:
            return None
        step = np.linalg.solve(information, design.T @ (y - p))
        values = values + step
        if np.abs(step).max() < 1e-10:
            break
    else:
        return None
    scores_G = np.zeros((len(names), design.shape[1]))
    np.add.at(scores_G, [names[group] for group in groups], design * (y - expit(design @ values))[:, None])
    bread = np.linalg.inv(information)
    covariance = bread @ (scores_G.T @ scores_G) @ bread * len(names) / (len(names) - 1)
    return _Fitted(values=values, covariance=covariance, num_groups=len(names))


def _check_connected(votes: Sequence[Ballot], place: dict[str, int]) -> None:
    size = len(place)
    beat = np.zeros((size, size))
    for ballot in votes:
        beat[place[ballot.a], place[ballot.b]] += ballot.score
        beat[place[ballot.b], place[ballot.a]] += 1 - ballot.score
    names = list(place)
    parts, part_of = connected_components(csr_matrix(beat > 0), connection="weak")
    if parts > 1:
        groups = [[names[i] for i in range(size) if part_of[i] == part] for part in range(parts)]
        raise _cannot("no votes connect these systems", groups, "votes between any two of the groups")
    parts, part_of = connected_components(csr_matrix(beat > 0), connection="strong")
    if parts > 1:
        groups = [[names[i] for i in range(size) if part_of[i] == part] for part in range(parts)]
        raise _cannot(
            "one group of systems won every vote against the others, so its strength has no finite estimate",
            groups,
            "a win or a tie in each direction",
        )


def _cannot(what: str, value: object, expected: str) -> EvaluationError:
    return EvaluationError(what, value=value, expected=expected, hint="vote on more pairs: tunesmith arena")
