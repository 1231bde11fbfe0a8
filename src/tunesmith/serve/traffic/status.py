"""How the arms of a split do, read as often as one likes: intervals and decision hold at all times together.

Of each user the first valued answer counts, so that values may be taken as independent. The difference is measured on pairs:
each value of an arm with the oldest of the last 50 values of the other that has no partner yet, within one period of
weights, so that neither a change of weights nor a change of mood over time looks like a difference of the models.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import func, select

from tunesmith.core.errors import EvaluationError
from tunesmith.eval.always_valid import Difference, difference_of
from tunesmith.eval.arena.stopping import confidence_sequence
from tunesmith.serve.feedback.database import Database
from tunesmith.serve.feedback.rows import value_of
from tunesmith.serve.feedback.tables import answers, feedback, splits

__all__ = ["Arm", "SplitStatus", "Valued", "as_dict", "pairs_of", "status_of"]

ALPHA = 0.05
_NEAR = 50


@dataclass(frozen=True, slots=True)
class Valued:
    """The first value (0 … 1) that a user gave, of an answer by `arm` in a period of weights."""

    arm: str
    period: int
    value: float


@dataclass(frozen=True, slots=True)
class Arm:
    """`n`: users with a value; `score`: their mean, `ci`: with its confidence sequence (None: n is 0). `answers`: all given,
    `failed`: of them, those that broke off or never came."""

    name: str
    weight: float
    n: int
    score: float | None
    ci: tuple[float, float] | None
    answers: int
    failed: int


@dataclass(frozen=True, slots=True)
class SplitStatus:
    """`difference`: of the best other arm to the first, the control; each comparison has its part of the 5 %.

    `decision`: the arm that is better than the control, or the control if it is better than all; None: not decided.
    """

    name: str
    arms: tuple[Arm, ...]
    difference: Difference
    compared: tuple[str, str] | None
    decision: str | None
    why: str


def pairs_of(values: Iterable[Valued], arm: str, control: str) -> list[float]:
    """Differences of `arm` to `control` in the order in which they were complete."""
    waiting: dict[str, deque[float]] = {arm: deque(maxlen=_NEAR), control: deque(maxlen=_NEAR)}
    period, found = None, []
    for one in values:
        if one.arm not in waiting:
            continue
        if one.period != period:
            period = one.period
            for queue in waiting.values():
                queue.clear()
        other = waiting[control if one.arm == arm else arm]
        if other:
            partner = other.popleft()
            found.append(one.value - partner if one.arm == arm else partner - one.value)
        else:
            waiting[one.arm].append(one.value)
    return found


def status_of(database: Database, name: str = "") -> SplitStatus:
    """How a split does; without a name, the only one. EvaluationError if there is none, or several."""
    with database.read() as connection:
        named = connection.execute(select(splits.c.name).distinct().order_by(splits.c.name)).scalars().all()
        chosen = _chosen(named, name)
        newest = select(splits.c.arms).where(splits.c.name == chosen).order_by(splits.c.seq.desc()).limit(1)
        weights: dict[str, float] = orjson.loads(connection.execute(newest).scalar_one())
        own = (answers.c.split == chosen) & answers.c.shadow_of.is_(None)
        counted = select(answers.c.arm, answers.c.failed, func.count()).where(own).group_by(answers.c.arm, answers.c.failed)
        counts: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        for arm, broke, count in connection.execute(counted):
            counts[arm] += count
            failed[arm] += count if broke else 0
        columns = (answers.c.unit, answers.c.arm, answers.c.period, feedback.c.thumb, feedback.c.score)
        joined = select(*columns).join(answers, answers.c.id == feedback.c.answer_id).where(own).order_by(feedback.c.seq)
        rows = connection.execute(joined).all()
    seen: set[str] = set()
    values = []
    for row in rows:
        value = value_of(row.thumb, row.score)
        if value is not None and row.unit not in seen:
            seen.add(row.unit)
            values.append(Valued(row.arm, row.period, value))
    return _status(chosen, weights, values, counts, failed)


def _chosen(named: Sequence[str], name: str) -> str:
    if name in named:
        return name
    if not name and len(named) == 1:
        return named[0]
    raise EvaluationError(
        "there is no such split" if name or not named else "there are several splits",
        value=name or "no name",
        expected=f"one of {', '.join(named)}" if named else "a database in which a server with a split has written",
        hint=f"tunesmith ab status {named[0]}" if named else "tunesmith serve … --traffic traffic.yaml",
    )


def _status(
    name: str, weights: dict[str, float], values: list[Valued], counts: Counter[str], failed: Counter[str]
) -> SplitStatus:
    by_arm: dict[str, list[float]] = defaultdict(list)
    for one in values:
        by_arm[one.arm].append(one.value)
    arms = tuple(_arm(arm, weight, by_arm[arm], counts[arm], failed[arm]) for arm, weight in weights.items())
    control, *others = weights
    if not others:
        nothing = difference_of([])
        return SplitStatus(name, arms, nothing, None, None, "there is one arm; nothing is compared")
    alpha = ALPHA / len(others)
    found = {arm: difference_of(pairs_of(values, arm, control), alpha=alpha) for arm in others}
    means = {arm: one.mean for arm, one in found.items() if one.mean is not None}
    best = max(means, key=lambda arm: means[arm], default=others[0])
    difference = found[best]
    better = difference.decided and (difference.mean or 0.0) > 0
    worse = all(one.decided and (one.mean or 0.0) < 0 for one in found.values())
    decision = best if better else control if worse else None
    return SplitStatus(name, arms, difference, (best, control), decision, _why(difference, best, control, decision))


def _arm(name: str, weight: float, values: list[float], given: int, failed: int) -> Arm:
    n, total = len(values), sum(values)
    ci = confidence_sequence(total, n - total, alpha=ALPHA) if n else None
    return Arm(name, weight, n, total / n if n else None, ci, given, failed)


def _why(difference: Difference, best: str, control: str, decision: str | None) -> str:
    if difference.ci is None:
        return f"no value of {best} has a partner of {control} yet"
    low, high = difference.ci
    shown = f"{best} minus {control}: {difference.mean:+.3f} [{low:+.3f}, {high:+.3f}] on {difference.n} pairs"
    return f"{shown}; {'not decided' if decision is None else f'{decision} is better'}"


def as_dict(status: SplitStatus) -> dict[str, Any]:
    """For scripts."""
    keys = ("name", "n", "score", "ci", "weight", "answers", "failed")
    return {
        "name": status.name,
        "arms": [{key: getattr(arm, key) for key in keys} for arm in status.arms],
        "difference": {
            "mean": status.difference.mean,
            "ci": status.difference.ci,
            "n": status.difference.n,
            "evidence": status.difference.evidence,
            "arm": status.compared[0] if status.compared else None,
            "control": status.compared[1] if status.compared else None,
        },
        "decision": status.decision,
        "why": status.why,
    }
