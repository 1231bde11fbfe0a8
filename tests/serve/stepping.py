"""An engine whose pieces come when the test says so, for what must not depend on how fast a model is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

from tunesmith.core.records import Message
from tunesmith.serve.ask import Ask
from tunesmith.serve.engine import Delta, Usage
from tunesmith.serve.registry import Registry, Version

__all__ = ["Stepping", "stepping"]


class Stepping:
    """Says a first word at once, and the rest when `go` is set. Counts what it works on: `open` now, `given_up` so far."""

    name = "stepping"
    honours = frozenset({"max_tokens", "temperature"})

    def __init__(self, at_once: int = 2) -> None:
        self.at_once = at_once
        self.go = threading.Event()
        self.open = self.given_up = self.begun = 0

    async def generate(self, target: str, ask: Ask) -> AsyncIterator[Delta | Usage]:
        self.open += 1
        self.begun += 1
        ended = False
        try:
            yield Delta(0, f"{target} ")
            while not self.go.is_set():
                await asyncio.sleep(0.002)
            yield Delta(0, ask.user or "said", "stop")
            yield Usage(2, 2)
            ended = True
        finally:
            self.open -= 1
            self.given_up += not ended

    async def embed(self, target: str, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        return [[float(len(text)), 0.5] for text in texts], len(texts)

    async def prompt_ids(self, target: str, messages: Sequence[Message]) -> tuple[int, ...] | None:
        return None

    async def prepare(self, target: str, *, pin: bool = False) -> None:
        return

    async def health(self) -> str:
        return ""

    async def close(self) -> None:
        self.go.set()


def stepping(engine: Stepping, *names: str) -> Registry:
    """A registry in which the engine answers for these names."""
    registry = Registry()
    for name in names:
        registry.add(Version(name=name, id="1" * 12, engine=engine, target=name, label=name))
    return registry
