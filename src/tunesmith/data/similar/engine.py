"""Engines: ways to map one pure function over pieces of work, in order. The same functions run on threads here or through Ray.

Work and results are plain data (dataclasses, arrays, strings), so that any engine can carry them.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, Protocol, TypeVar, get_args

from tunesmith.core.errors import DatasetError

__all__ = ["Engine", "EngineName", "engine_named", "local_engine", "ray_engine"]

A = TypeVar("A")
B = TypeVar("B")
EngineName = Literal["local", "ray"]
_AHEAD = 2  # pieces a thread may be ahead of the reader: results wait in memory


class Engine(Protocol):
    """Maps `function` over `work`; results come in the order of the work."""

    def __call__(self, function: Callable[[A], B], work: Sequence[A]) -> Iterator[B]: ...


def engine_named(name: str, *, workers: int = 0) -> Engine:
    """The engine of that name, `local` or `ray`. `workers`: threads of the local one, 0 for one a core."""
    if name not in get_args(EngineName):
        raise DatasetError(
            "unknown engine", value=name, expected="local, or ray for more than one machine", hint="--engine local"
        )
    return ray_engine() if name == "ray" else local_engine(workers)


def local_engine(workers: int = 0) -> Engine:
    """Threads on this machine, one a core if `workers` is 0. The array work runs outside the interpreter's lock.

    Only a few pieces are in flight, so memory does not grow with the work.
    """
    count = workers or os.cpu_count() or 1

    def run(function: Callable[[A], B], work: Sequence[A]) -> Iterator[B]:
        if count == 1 or len(work) < 2:
            yield from map(function, work)
            return
        with ThreadPoolExecutor(count) as pool:
            waiting: deque[Future[B]] = deque()
            try:
                for item in work:
                    waiting.append(pool.submit(function, item))
                    if len(waiting) >= count * _AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for left in waiting:
                    left.cancel()

    return run


def ray_engine() -> Engine:
    """Ray Data: a cluster that is there already, or one on this machine. DatasetError where Ray is not installed.

    Files are read by the workers, so on several machines they must lie where all can read them.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise DatasetError(
            "the engine 'ray' is not installed",
            value="--engine ray",
            expected="the extra ray",
            hint="pip install -c constraints.txt -e '.[ray]'",
        ) from error

    def run(function: Callable[[A], B], work: Sequence[A]) -> Iterator[B]:
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)

        def apply(row: dict[str, Any]) -> dict[str, Any]:
            return {"number": row["number"], "result": function(row["item"])}

        rows = [{"number": number, "item": item} for number, item in enumerate(work)]
        if not rows:
            return
        found = {row["number"]: row["result"] for row in ray.data.from_items(rows).map(apply).iter_rows()}
        yield from (found[number] for number in range(len(rows)))

    return run
