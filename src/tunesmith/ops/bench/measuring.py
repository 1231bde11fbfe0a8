"""Rounds of measuring: in each, every option's server is started, asked the same prompts in the same order, and stopped.

One server runs at a time, so that each has the machine to itself and memory for one is enough. Options come in turn (A B A B),
so that a machine that becomes slower makes all of them slower. What was measured before a fault, or before Ctrl-C, is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tunesmith.core.errors import EngineError
from tunesmith.core.reporter import Progress, Reporter, SilentReporter
from tunesmith.ops.bench.asking import Window, ask_window
from tunesmith.ops.bench.options import Option
from tunesmith.ops.bench.prompts import Prompts
from tunesmith.ops.bench.running import Running, running, short_reason

__all__ = ["Measured", "Work", "measure"]

_READY_S = 900.0  # vLLM compiles, and a large model is read


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is asked. `clients`: at once, one window for each number; `requests`: in a window, two for each client at least;
    `tokens`: of an answer at most. No round begins later than `seconds` (0: no limit)."""

    clients: tuple[int, ...]
    tokens: int
    requests: int
    rounds: int
    seconds: float

    def in_window(self, clients: int) -> int:
        """Requests of a window with so many clients."""
        return max(self.requests, 2 * clients)


@dataclass(slots=True, kw_only=True)
class Measured:
    """What is known of an option. `problem`: why it was not measured (further). `start_s`: of each start of its server."""

    option: Option
    windows: list[Window] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    memory_bytes: int | None = None
    problem: str = ""

    def at(self, clients: int) -> list[Window]:
        """Its windows with so many clients, by round."""
        return [one for one in self.windows if one.clients == clients]


def measure(
    options: Sequence[Option],
    prompts: Prompts,
    work: Work,
    *,
    reporter: Reporter | None = None,
    on_round: Callable[[Sequence[Measured]], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Measured], str]:
    """Measure the options. Returns what was measured and, if it ended early, why. `on_round` is called after every round."""
    found = [Measured(option=one) for one in options]
    begin = clock()
    total = work.rounds * len(options) * len(work.clients)
    try:
        with (reporter or SilentReporter()).progress("measuring", total=total, unit="windows") as progress:
            for number in range(work.rounds):
                if number and work.seconds and clock() - begin > work.seconds:
                    return found, f"the {work.seconds:g} s were over after {number} of {work.rounds} rounds"
                for one in found:
                    _measure_one(one, prompts, work, number, progress)
                on_round(found)
    except KeyboardInterrupt:
        return found, "it was stopped"
    return found, ""


def _measure_one(one: Measured, prompts: Prompts, work: Work, number: int, progress: Progress) -> None:
    """A round of one option. What goes wrong is its problem, and it is not started again."""
    if one.problem:
        progress.advance(len(work.clients))
        return
    progress.advance(0, text=one.option.name)
    try:
        with ExitStack() as held:
            server = held.enter_context(running(one.option, ready_s=_READY_S))
            if server.start_s is not None:
                one.start_s.append(server.start_s)
            _ask_all(one, server, prompts, work, number, progress)
    except EngineError as error:
        when = f"in round {number + 1}: " if one.windows else ""
        one.problem = when + short_reason(error)


def _ask_all(one: Measured, server: Running, prompts: Prompts, work: Work, number: int, progress: Progress) -> None:
    at = 0
    for clients in work.clients:
        warm, count = clients, work.in_window(clients)
        window = ask_window(
            server.url,
            server.model,
            prompts.part(at + warm, count),
            clients=clients,
            tokens=work.tokens,
            warm_up=prompts.part(at, warm),
            round=number,
        )
        at += warm + count
        one.windows.append(window)
        memory = server.memory_bytes()
        one.memory_bytes = memory if one.memory_bytes is None else max(one.memory_bytes, memory or 0)
        progress.advance()
        if window.failures:
            server.check_alive()
        if len(window.failures) == len(window.requests):
            one.problem = f"no request was answered: {window.failures[0]}"
            return
