"""Ctrl-C and SIGTERM: asked for at any moment, answered where nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Stop", "Stopped", "stop_requests"]


class Stopped(Exception):
    """A stop was asked for in the middle of work that can be made again."""


@dataclass(slots=True)
class Stop:
    """`exit_code` is 0 until a stop is asked for, in any of the processes that `agree` on it."""

    asked: int = 0
    exit_code: int = 0
    agree: Callable[[int], int] = lambda asked: asked

    def look(self) -> None:
        """Take up what was asked for since."""
        self.exit_code = self.agree(self.asked)

    def check(self) -> None:
        """Raise Stopped if a stop was asked for."""
        self.look()
        if self.exit_code:
            raise Stopped


@contextmanager
def stop_requests(agree: Callable[[int], int] = lambda asked: asked) -> Iterator[Stop]:
    """Ctrl-C and SIGTERM ask for a stop; a second one stops at once. `agree` gives what any process of the run was asked."""
    stop = Stop(agree=agree)

    def ask(number: int, frame: object) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = 128 + number

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: the caller handles signals
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
