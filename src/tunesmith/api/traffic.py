"""`ab_status`, `ab_set`, `rollback`: how the arms of a split do, other weights, and an alias back to the version before."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tunesmith.core.errors import EngineError

if TYPE_CHECKING:
    from tunesmith.serve.traffic.status import SplitStatus

__all__ = ["AbStatus", "Rollback", "ab_set", "ab_status", "rollback"]

_URL = "http://127.0.0.1:8000"
_WAIT_S = 120.0


@dataclass(frozen=True, slots=True)
class AbStatus:
    """How a split does. `status`: arms, difference and decision; they may be read as often as one likes."""

    status: SplitStatus

    @property
    def decision(self) -> str | None:
        """The arm that is better, if that is decided."""
        return self.status.decision

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith ab status --json` prints."""
        from tunesmith.serve.traffic.status import as_dict

        return as_dict(self.status)


@dataclass(frozen=True, slots=True)
class Rollback:
    """A move of an alias to the version before. `seconds`: from the command to the server's word that it answers with it."""

    before: str
    after: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith rollback --json` prints."""
        return {"from": self.before, "to": self.after, "seconds": self.seconds}


def ab_status(name: str = "", *, project: str | Path = ".", database: str | Path = "") -> AbStatus:
    """How the arms of a split do: scores with intervals, and the difference with an interval that holds at all times together.

    `name` may be left out if there is one split. `database`: that of the server, by default that of the project.

    Raises:
        StorageError: a database that cannot be used.
        EvaluationError: no split of this name.
    """
    from tunesmith.serve.feedback.database import open_database
    from tunesmith.serve.traffic.status import status_of

    opened = open_database(database or Path(project) / ".tunesmith" / "serve.db", make=False)
    try:
        return AbStatus(status_of(opened, name))
    finally:
        opened.close()


def ab_set(name: str, arms: Mapping[str, float], *, url: str = _URL, key: str = "") -> dict[str, float]:
    """Give the arms of a running server's split other weights; the control comes first. Returns the weights that hold now.

    `key`: of the server, by default TUNESMITH_SERVE_KEY of the environment.

    Raises:
        EngineError: a server that cannot be reached or refuses.
    """
    found = _ask("PUT", f"{url}/v1/ab/{quote(name, safe='')}", {"arms": dict(arms)}, key)
    return {str(arm): float(weight) for arm, weight in found["arms"].items()}


def rollback(name: str, *, alias: str = "live", url: str = _URL, key: str = "") -> Rollback:
    """Let an alias of a running server's model mean the version that it meant before its last move.

    Requests in work end on the version that they began with. `key`: as in `ab_set`.

    Raises:
        EngineError: a server that cannot be reached, or knows no move to take back.
    """
    begin = time.monotonic()
    found = _ask("POST", f"{url}/v1/models/{quote(name, safe='')}/rollback", {"alias": alias}, key)
    return Rollback(found["from"], found["to"], round(time.monotonic() - begin, 4))


def _ask(method: str, address: str, body: Any, key: str) -> Any:
    import orjson
    import urllib3

    known = key or os.environ.get("TUNESMITH_SERVE_KEY", "")
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {known}"} if known else {})
    try:
        reply = urllib3.request(
            method, address, body=orjson.dumps(body), headers=headers, retries=False, redirect=False, timeout=_WAIT_S
        )
        found = orjson.loads(reply.data)
    except (urllib3.exceptions.HTTPError, orjson.JSONDecodeError) as error:
        raise EngineError(
            "no server of Tunesmith answers there",
            value=address,
            expected=f"a running `tunesmith serve` ({str(error)[:200]})",
            hint="--url http://HOST:PORT",
        ) from error
    if reply.status != 200:
        message = found.get("error", {}).get("message", "") if isinstance(found, dict) else ""
        raise EngineError(
            "the server refuses",
            value=f"{reply.status}: {str(message)[:300]}",
            expected="a name and an admin's key that it knows, and something to change",
            hint="TUNESMITH_SERVE_KEY=… for the key; GET /v1/models lists names and aliases",
        )
    return found
