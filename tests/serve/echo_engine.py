"""An engine of words: it answers with its own name and what it was asked, a word at a time, and does as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.core.records import Message
from tunesmith.serve.ask import Ask
from tunesmith.serve.engine import Delta, Usage
from tunesmith.serve.observing import Observer
from tunesmith.serve.registry import Registry, Version
from tunesmith.serve.traffic.file import TrafficFile
from tunesmith.serve.traffic.setup import Traffic, TrafficSettings, open_traffic

__all__ = ["Echo", "chat_body", "opened", "registry_of"]


@dataclass
class Echo:
    """`before(target)`: awaited before the first word; it may wait or raise. `running`: answers in work, `most` at once."""

    before: Callable[[str], Any] | None = None
    running: int = 0
    most: int = 0
    asked: list[str] = field(default_factory=list)
    name: str = "echo"
    honours: frozenset[str] = frozenset({"n", "seed", "temperature", "max_tokens", "echo"})
    at_once: int = 64

    async def generate(self, target: str, ask: Ask) -> AsyncIterator[Delta | Usage]:
        self.asked.append(target)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.before is not None:
                await self.before(target)
            words = f"{target} heard: {ask.messages[-1].content if ask.messages else ask.prompts[0]}".split(" ")
            for at, word in enumerate(words):
                for index in range(ask.n):
                    yield Delta(index, word if at == 0 else f" {word}", "stop" if at + 1 == len(words) else None)
                await asyncio.sleep(0)
            yield Usage(3, len(words))
        finally:
            self.running -= 1

    async def embed(self, target: str, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        if self.before is not None:
            await self.before(target)
        return [[float(len(text)), 1.0] for text in texts], sum(len(text.split()) for text in texts)

    async def prompt_ids(self, target: str, messages: Sequence[Message]) -> tuple[int, ...] | None:
        return None

    async def prepare(self, target: str, *, pin: bool = False) -> None:
        """Always ready."""

    async def health(self) -> str:
        return ""

    async def close(self) -> None:
        """Nothing to stop."""


def registry_of(engine: Echo, *names: str) -> Registry:
    """Versions `v1` of the names, or of `NAME@VERSION`, all answered by one engine."""
    registry = Registry()
    for name in names:
        bare, _, version = name.partition("@")
        registry.add(Version(name=bare, id=version or "v1", engine=engine, target=name, label="words"))
    return registry


def opened(
    database: Path | str, log: list[dict[str, Any]] | None = None, *, registry: Registry | None = None, **how: Any
) -> Traffic:
    """The stages as `tunesmith serve` opens them."""
    import orjson

    lines = log if log is not None else []
    file = TrafficFile(**{name: how.pop(name) for name in list(how) if name in TrafficFile.model_fields})
    settings = TrafficSettings(database=database, file=file, **how)
    return open_traffic(settings, Observer(lambda line: lines.append(orjson.loads(line))), registry or Registry())


def chat_body(text: str, model: str = "words", **how: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **how}
