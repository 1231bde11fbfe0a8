"""A new version that gets more users step by step as long as nothing speaks against it, and none once something does.

A canary is a split of two arms; its steps are periods of the split. Roll-back: its answers fail more often than `most_failed`,
or people value it less than the stable arm; both are decided by confidence sequences, so that looking every few seconds does
not make a false roll-back likelier than 5 % each. Growth: `answers` answers in this step without a roll-back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, select

from tunesmith.core.errors import TunesmithError
from tunesmith.eval.arena.stopping import confidence_sequence
from tunesmith.serve.errors import ApiError
from tunesmith.serve.feedback.database import Database
from tunesmith.serve.feedback.recording import Log
from tunesmith.serve.feedback.tables import answers, splits
from tunesmith.serve.traffic.split import Splits, set_arms
from tunesmith.serve.traffic.status import status_of

__all__ = ["Canaries", "Counted", "Rule", "judged"]

_EVERY_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`steps`: shares of the canary in percent, rising; `answers`: of the canary in a step before the next one."""

    stable: str
    canary: str
    steps: Sequence[float]
    answers: int
    most_failed: float

    def arms(self, step: float) -> dict[str, float]:
        """The weights of a step."""
        return {self.stable: 100 - step, self.canary: step}


@dataclass(frozen=True, slots=True)
class Counted:
    """The canary's answers: in this step, since it began, and how many of these failed. `worse`: people value it less."""

    in_step: int
    given: int
    failed: int
    worse: bool


def judged(rule: Rule, counted: Counted) -> tuple[Literal["back", "on", "stay"], str]:
    """What to do, and why."""
    low, _ = confidence_sequence(counted.failed, counted.given - counted.failed)
    if low > rule.most_failed:
        shown = f"{counted.failed} of {counted.given} answers failed"
        return "back", f"{shown}: at least {100 * low:.1f} %, more than {100 * rule.most_failed:g} %"
    if counted.worse:
        return "back", "people value it less"
    if counted.in_step >= rule.answers:
        return "on", f"{counted.in_step} answers, nothing against it"
    return "stay", ""


class Canaries:
    """Watches the canaries of a server; the split's weights in the database are its only state."""

    def __init__(self, rules: Mapping[str, Rule], splits: Splits, database: Database, log: Log) -> None:
        self._rules, self._splits, self._database, self._log = rules, splits, database, log

    async def watch(self) -> None:
        """Take a step whenever one is due, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.step()

    async def step(self) -> None:
        """Judge each canary once."""
        for name, rule in self._rules.items():
            try:
                if await asyncio.to_thread(self._step, name, rule):
                    await asyncio.to_thread(self._splits.refresh)
            except (TunesmithError, ApiError) as error:
                self._log("canary", name=name, failed=str(error)[:300])

    def _step(self, name: str, rule: Rule) -> bool:
        split = self._splits.now[name]
        share = split.arms.get(rule.canary, 0.0)
        if list(split.arms) != [rule.stable, rule.canary] or not share:
            return False  # rolled back, or somebody set other arms
        what, why = judged(rule, self._counted(name, rule, split.period))
        following = next((step for step in rule.steps if step > share), None)
        if what == "stay" or (what == "on" and following is None):
            return False
        arms = rule.arms(0.0 if what == "back" or following is None else following)
        done = self._database.write(lambda c: _from_period(c, name, split.period, arms, f"canary {what}: {why}")).result()
        if done:
            self._log("canary", name=name, step=what, share=arms[rule.canary], why=why)
        return True

    def _counted(self, name: str, rule: Rule, period: int) -> Counted:
        own = (answers.c.split == name) & (answers.c.arm == rule.canary) & answers.c.shadow_of.is_(None)
        statement = select(answers.c.failed, answers.c.period == period, func.count()).where(own)
        counts: dict[tuple[bool, bool], int] = {}
        with self._database.read() as connection:
            for failed, here, count in connection.execute(statement.group_by(answers.c.failed, answers.c.period == period)):
                counts[bool(failed), bool(here)] = count
        in_step = counts.get((False, True), 0) + counts.get((True, True), 0)
        failed = counts.get((True, True), 0) + counts.get((True, False), 0)
        status = status_of(self._database, name)
        return Counted(in_step, sum(counts.values()), failed, worse=status.decision == rule.stable)


def _from_period(connection: Connection, name: str, period: int, arms: Mapping[str, float], why: str) -> bool:
    """Set weights unless another server, or a person, has done so since `period`."""
    if connection.execute(select(func.max(splits.c.seq)).where(splits.c.name == name)).scalar() != period:
        return False
    set_arms(connection, name, arms, why)
    return True
