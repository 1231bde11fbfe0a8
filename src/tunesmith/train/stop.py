"""Ctrl-C and SIGTERM: asked for at any moment, answered where nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Stop", "Stopped", "stop_requests"]


class Stopped(Exception):
    """A stop was asked for in the middle of work that can be made again."""


@dataclass(slots=True)
class Stop:
    """`exit_code` is 0 until a stop is asked for."""

    exit_code: int = 0

    def check(self) -> None:
        """Raise Stopped if a stop was asked for."""
        if self.exit_code:
            raise Stopped


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Ctrl-C and SIGTERM ask for a stop; a second one stops at once."""
    stop = Stop()

    def ask(number: int, frame: object) -> None:
        if stop.exit_code:
            raise KeyboardInterrupt
        stop.exit_code = 128 + number

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: the caller handles signals
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
