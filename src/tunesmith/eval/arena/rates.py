"""Win rates with intervals that treat the votes on one prompt as one observation.

One vote per prompt: the exact binomial interval of Clopper and Pearson (1934). A tie is half a win, which leaves the counts
fractional; the variance of such scores is below that of a binomial with the same mean (Hoeffding 1963, theorem 4), so the
interval is conservative: enumeration over all shares of wins, losses and ties gives a coverage of at least 95 %
(tests/eval/test_eval_arena_rates.py). Several votes per prompt, of several people: the interval of `eval.stats` with prompts
in place of documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from tunesmith.core.records import Interval
from tunesmith.eval.arena.ballots import LEAST, Ballot
from tunesmith.eval.stats import summarise

__all__ = ["VoteRate", "clopper_pearson", "rate_of", "win_rate"]

_LEVEL = 0.95
_BOUNDS = (0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRate:
    """A share of `n` votes on `num_prompts` prompts. Where `value` or `ci` is None, `why` gives the reason."""

    n: int
    num_prompts: int
    value: float | None
    ci: Interval | None
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`: the interval as [low, high]."""
        ends = None if self.ci is None else [self.ci.low, self.ci.high]
        method = "" if self.ci is None else self.ci.method
        return {"value": self.value, "ci": ends, "n": self.n, "prompts": self.num_prompts, "method": method, "why": self.why}


def clopper_pearson(wins: float, n: int, *, level: float = _LEVEL) -> tuple[float, float]:
    """Low and high of the exact interval of a share; `wins` may hold halves, from 0 to `n` ≥ 1."""
    tail = (1 - level) / 2
    low = 0.0 if wins <= 0 else float(stats.beta.ppf(tail, wins, n - wins + 1))
    high = 1.0 if wins >= n else float(stats.beta.ppf(1 - tail, wins + 1, n - wins))
    return low, high


def rate_of(scores: Sequence[float], prompts: Sequence[str], *, level: float = _LEVEL) -> VoteRate:
    """The mean of scores from 0 to 1 with its interval. `prompts` names the prompt of each; every prompt counts as one."""
    n, num_prompts = len(scores), len(set(prompts))
    if n == 0:
        return VoteRate(n=0, num_prompts=0, value=None, ci=None, why="there are no votes")
    if num_prompts == n:
        low, high = clopper_pearson(sum(scores), n, level=level)
        interval = Interval(low=low, high=high, level=level, method=f"exact binomial, {n} prompts with a vote each")
        return VoteRate(n=n, num_prompts=n, value=sum(scores) / n, ci=interval)
    found = summarise(scores, prompts, bounds=_BOUNDS, level=level)
    why = found.no_interval or ""
    return VoteRate(n=n, num_prompts=num_prompts, value=found.mean, ci=found.ci, why=why)


def win_rate(ballots: Sequence[Ballot], system: str, *, by: str = "prompt") -> VoteRate:
    """How often `system` is preferred in the votes that it is part of; a tie is half a win. Repeated pairs do not count.

    Not measured below six votes with a preference: fewer cannot tell a difference from chance. `by`: `prompt`, or `document`
    for the interval that treats all votes on one document as one observation.
    """
    own = [ballot for ballot in ballots if system in (ballot.a, ballot.b) and not ballot.again]
    units = [(ballot.document or ballot.prompt) if by == "document" else ballot.prompt for ballot in own]
    decided = sum(ballot.score != 0.5 for ballot in own)
    if decided < LEAST:
        why = f"{len(own)} votes, {decided} of them with a preference; at least {LEAST} are needed"
        if own and not decided:
            why = f"no preference in {len(own)} votes: all are ties"
        return VoteRate(n=len(own), num_prompts=len(set(units)), value=None, ci=None, why=why)
    return rate_of([ballot.score_of(system) for ballot in own], units)
