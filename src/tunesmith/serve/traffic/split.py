"""A/B: a name behind which several models answer, each for its share of the users. A user always meets the same one.

Which arm a user gets depends on a hash of split, arm and user alone, so all processes and all starts agree (weighted rendezvous
hashing: the arm with the largest −weight / ln u, u uniform from the hash; Thaler and Ravishankar 1998, Schindelhauer and
Schomaker 2005). When weights change, only users move that must. A request that names no user is a user of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, func, insert, select

from tunesmith.core.errors import StorageError
from tunesmith.serve.errors import ApiError, bad_field
from tunesmith.serve.feedback.database import Database
from tunesmith.serve.feedback.recording import Log, user_of
from tunesmith.serve.feedback.tables import splits
from tunesmith.serve.pipeline import Answer, Call, Handler
from tunesmith.serve.registry import NAME, Registry

__all__ = ["Split", "Splits", "arm_of", "set_arms"]

_REFRESH_S = 1.0  # after which a change made by another process is known
_MOST_ARMS = 8


@dataclass(frozen=True, slots=True)
class Split:
    """The weights of a split as they are now. `period`: number of the change that set them; the first arm is the control."""

    name: str
    period: int
    arms: Mapping[str, float]


def arm_of(split: str, arms: Mapping[str, float], user: str) -> str:
    """The arm of a user; arms with weight 0 get none."""

    def rank(arm: str) -> float:
        number = int.from_bytes(hashlib.sha256(f"{split}\0{arm}\0{user}".encode()).digest()[:8], "big")
        return -arms[arm] / math.log((number + 0.5) / 2**64)

    return max((arm for arm in arms if arms[arm] > 0), key=rank)


class Splits:
    """The stage, and the weights behind it, which the database keeps."""

    def __init__(self, database: Database, registry: Registry, log: Log) -> None:
        self._database, self._registry, self._log = database, registry, log
        self.now: dict[str, Split] = {}

    async def __call__(self, call: Call, inner: Handler) -> Answer:
        """Choose the arm, and say in a header which it is."""
        split = self.now.get(call.model)
        if split is None:
            return await inner(call)
        arm = arm_of(split.name, split.arms, user_of(call) or call.id)
        call.notes |= {"split": split.name, "period": split.period, "arm": arm}
        call.model = arm
        answer = await inner(call)
        answer.headers["x-tunesmith-arm"] = arm
        return answer

    def begin(self, wanted: Mapping[str, Mapping[str, float]]) -> None:
        """Take over what the database knows; a split that is new, or has other arms there, begins with the weights given.

        Raises ApiError for names or weights that cannot be, StorageError for the database.
        """
        self.refresh()
        for name, arms in wanted.items():
            self.check(name, arms)
            known = self.now.get(name)
            if known is None or list(known.arms) != list(arms):
                self._database.write(lambda c, name=name, arms=arms: set_arms(c, name, arms, "file")).result()  # type: ignore[misc]
        self.refresh()
        self.now = {name: self.now[name] for name in wanted}

    async def change(self, name: str, arms: Mapping[str, float], why: str) -> Split:
        """Set weights; they hold here at once, and in other processes within a second or so. ApiError 400 or 404."""
        if name not in self.now:
            raise ApiError(404, f"there is no split {name[:64]!r} here", code="split_not_found")
        self.check(name, arms)
        await asyncio.wrap_future(self._database.write(lambda connection: set_arms(connection, name, arms, why)))
        await asyncio.to_thread(self.refresh)
        self._log("split", name=name, arms=dict(arms), why=why)
        return self.now[name]

    def check(self, name: str, arms: Mapping[str, float]) -> None:
        """ApiError for a name or for arms that cannot be."""
        if not NAME.fullmatch(name):
            raise bad_field("name", f"this cannot be the name of a split: {name[:64]!r}")
        if not 1 <= len(arms) <= _MOST_ARMS or not any(arms.values()):
            raise bad_field("arms", f"a split has 1 to {_MOST_ARMS} arms, one of them with a weight above 0")
        for arm, weight in arms.items():
            if not (math.isfinite(weight) and 0 <= weight <= 1e6):
                raise bad_field("arms", f"the weight of {arm[:64]} must be a number from 0 to a million")
            self._registry.resolve(arm)

    def refresh(self) -> None:
        """Read the weights."""
        latest = select(func.max(splits.c.seq)).group_by(splits.c.name)
        with self._database.read() as connection:
            rows = connection.execute(select(splits).where(splits.c.seq.in_(latest))).all()
        found = {row.name: Split(row.name, row.seq, orjson.loads(row.arms)) for row in rows}
        self.now = found if not self.now else {name: found.get(name, split) for name, split in self.now.items()}

    async def follow(self) -> None:
        """Take in what other processes change, until cancelled."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            try:
                await asyncio.to_thread(self.refresh)
            except StorageError as error:
                self._log("split", failed=str(error)[:300])


def set_arms(connection: Connection, name: str, arms: Mapping[str, float], why: str) -> None:
    """Begin a new period of a split."""
    row = {"name": name, "at": time.time(), "arms": orjson.dumps(dict(arms)).decode(), "why": why}
    connection.execute(insert(splits).values(row))
