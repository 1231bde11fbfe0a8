"""The thread that runs a continuous batch: it alone touches the model. Requests join and leave between two passes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Any, TypeVar

from tunesmith.models.continuous.generator import Continuous, Order

__all__ = ["BatchThread"]

_T = TypeVar("_T")
_LOG = logging.getLogger("tunesmith.batch")


class BatchThread:
    """Runs until `close`. `failed(order, error)` is called in the thread for each answer that a failed pass took along."""

    def __init__(self, batch: Continuous, failed: Callable[[Order, BaseException], None]) -> None:
        self._batch, self._failed = batch, failed
        self._wake = Condition()
        self._todo: deque[Callable[[], None]] = deque()
        self._outbox: dict[asyncio.AbstractEventLoop, list[tuple[Callable[[Any], None], Any]]] = {}
        self._closing = False
        self._thread = Thread(target=self._work, name="tunesmith-batch", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive() and not self._closing

    def submit(self, order: Order) -> None:
        """Let an answer join the batch."""
        self._post(lambda: self._batch.add(order))

    def drop(self, order: Order) -> None:
        """Give an answer up; one that has ended already is left alone."""
        self._post(lambda: self._batch.drop(order))

    def call(self, do: Callable[[], _T]) -> Future[_T]:
        """What `do` returns or raises, run between two passes."""
        done: Future[_T] = Future()

        def run() -> None:
            try:
                done.set_result(do())
            except Exception as error:  # noqa: BLE001 (handed to whoever waits)
                done.set_exception(error)

        self._post(run)
        return done

    def deliver(self, loop: asyncio.AbstractEventLoop, put: Callable[[Any], None], item: Any) -> None:
        """Within a pass: let `put(item)` be called in `loop` once the pass is over, with all others in one go."""
        self._outbox.setdefault(loop, []).append((put, item))

    def close(self) -> None:
        """End after the pass that runs."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout=30.0)

    def _post(self, do: Callable[[], None]) -> None:
        with self._wake:
            self._todo.append(do)
            self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._todo and self._batch.is_idle and not self._closing:
                    self._wake.wait()
                if self._closing:
                    return
                todo, self._todo = self._todo, deque()
            for do in todo:
                do()
            try:
                self._batch.step()
            except Exception as error:  # noqa: BLE001 (logged, and told to every request that it took along)
                _LOG.exception("a pass of the batch failed")
                for order in self._batch.clear():
                    self._failed(order, error)
            self._send()

    def _send(self) -> None:
        outbox, self._outbox = self._outbox, {}
        for loop, items in outbox.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_put_all, items)


def _put_all(items: list[tuple[Callable[[Any], None], Any]]) -> None:
    for put, item in items:
        put(item)
