"""Curves of a run while it is trained: a follower of its metric log, in a process of its own, writes them to a tracker.

The training loop knows nothing of it. A follower reads `metrics.jsonl` now and then and gives what it holds to the function
that mirrors finished runs, so that whatever it could not write is written the next time, or when the run is done.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson
import psutil

from tunesmith.ops.mirrors.payload import curve_rows

__all__ = ["FOLLOWED", "Followers", "Order", "follow", "followed", "workspace_here"]

FOLLOWED = ("mlflow", "trackio", "tensorboard")
"""Trackers that show a run while it grows. An offline run of W&B is seen when it is uploaded."""
Order = tuple[Mapping[str, Any], Mapping[str, str]]  # of a tracker, and the environment of its process
_EVERY_S = 15.0
_SHARE, _MOST_S = 20, 60.0  # a follower rests so many times as long as a write took, but no longer than a minute
_END_S = 10.0  # a write under way is waited for so long


def workspace_here(project: Path) -> Path | None:
    """The folder of the run that this process is training; None if it trains none."""
    mine = f"process {os.getpid()}"
    for holder in (project / ".tunesmith" / "work").glob("*/holder"):
        with suppress(OSError):
            if holder.read_text(encoding="utf-8").strip() == mine:
                return holder.parent
    return None


class Followers:
    """The progress of a training whose curves are followed: followers begin with it and end before it does."""

    def __init__(self, orders: Sequence[Order]) -> None:
        self._orders = orders
        self.processes: list[subprocess.Popen[bytes]] = []

    def advance(self, amount: float = 1, text: str | None = None) -> None:
        """Nothing: the log says how far it is."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tunesmith.ops.mirrors.worker"]
        for order, environment in self._orders:
            with suppress(OSError):  # no process, no memory: the run is mirrored when it is done
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=dict(environment),
                    start_new_session=True,  # Ctrl-C is for the training, which ends its followers itself
                )
                self.processes.append(process)
                assert process.stdin is not None
                process.stdin.write(orjson.dumps(order) + b"\n")
                process.stdin.flush()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self.processes:
            with suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
        for process in self.processes:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def followed(project: Path, orders: Sequence[Order]) -> Followers:
    """Followers of the run that this process trains, one for each order; none if it trains no run of the project."""
    workspace = workspace_here(project)
    if workspace is None:
        return Followers([])
    about = {"follow": str((workspace / "metrics.jsonl").resolve()), "id": workspace.name, "every_s": _EVERY_S}
    return Followers([({**order, **about}, environment) for order, environment in orders])


def follow(order: Mapping[str, Any], send: Callable[..., str], until: BinaryIO) -> None:
    """Write the run in the log `order["follow"]` again and again while it grows, until `until` is closed: by the process that
    trains, or by its end. A write that fails is made again with the next."""
    ended = Event()

    def wait() -> None:
        until.read()
        ended.set()

    Thread(target=wait, daemon=True).start()
    if sys.platform == "win32":  # the training goes first
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        psutil.Process().nice(10)
    began, seen, pause = round(1000 * time.time()), 0, float(order["every_s"])
    while not ended.wait(pause):
        curves = curve_rows(Path(order["follow"]))
        if len(curves) == seen:
            continue
        at = time.monotonic()
        with suppress(Exception):
            Path(order["folder"]).mkdir(parents=True, exist_ok=True)
            send(_snapshot(order["id"], began, curves), Path(order["folder"]), order["name"], order["address"])
            seen = len(curves)
        pause = max(float(order["every_s"]), min(_MOST_S, _SHARE * (time.monotonic() - at)))


def _snapshot(id: str, began_ms: int, curves: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The payload of a run that is not done: no settings and no results yet."""
    now = round(1000 * time.time())
    tags = {"tunesmith.run_id": id, "tunesmith.state": "under way"}
    return {
        **{"id": id, "name": f"run {id[:8]}", "began_ms": began_ms, "ended_ms": max(now, began_ms), "done": False},
        **{"settings": {}, "tags": tags, "numbers": {}, "curves": list(curves), "summary": ""},
    }
