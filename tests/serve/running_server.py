"""A real server on loopback in a thread of the test: the gate, the routes and the engine, over HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from tunesmith.serve.app import make_app
from tunesmith.serve.gate import LOOPBACK, Gate, Rates, Service
from tunesmith.serve.keys import Keys, Role
from tunesmith.serve.observing import Observer
from tunesmith.serve.pipeline import Pipeline, Stage
from tunesmith.serve.registry import Registry
from tunesmith.serve.running import Address, Stop, bind, run
from tunesmith.serve.traffic.setup import Traffic

__all__ = ["Running", "running"]

_LOCAL = Address("127.0.0.1", 0, drain_s=30.0)


@dataclass
class Running:
    """The server's address and its parts. `log`: the lines that it wrote."""

    url: str
    registry: Registry
    pipeline: Pipeline
    service: Service
    stop: Any
    log: list[dict[str, Any]] = field(default_factory=list)

    def engines(self) -> list[Any]:
        return list({id(version.engine): version.engine for version in self.registry}.values())


@contextmanager
def running(
    registry: Registry,
    *,
    stages: Sequence[Stage] = (),
    traffic: Traffic | None = None,
    keys: Mapping[str, str] | None = None,
    roles: Mapping[str, Role] | None = None,
    per_minute: float = 0.0,
    most_waiting: int = 512,
    body_s: float = 30.0,
    address: Address = _LOCAL,
) -> Iterator[Running]:
    """Serve what is in the registry until the block ends; then the engines are closed, as `tunesmith serve` does."""
    log: list[dict[str, Any]] = []
    pipeline = Pipeline(registry, [*stages, *(traffic.stages if traffic else ())], most_waiting=most_waiting)
    app = make_app(pipeline, Observer(lambda line: log.append(orjson.loads(line))))
    if traffic is not None:
        traffic.add_routes(app)
    gate = Gate(
        app=app,
        service=Service(),
        keys=Keys(keys or {}, roles),
        rates=Rates(per_minute),
        hosts=LOOPBACK,
        body_s=body_s,
    )
    listening = bind(address, has_key=bool(keys))
    ready, made = threading.Event(), list[Running]()

    async def work() -> None:
        stop, loop = Stop(), asyncio.get_running_loop()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        made.append(Running(url, registry, pipeline, gate.service, lambda: loop.call_soon_threadsafe(stop), log))
        if traffic is not None:
            traffic.start(pipeline)
        await run(gate, listening, address, ready.set, stop)
        for engine in made[0].engines():
            await engine.close()
        if traffic is not None:
            await traffic.close()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    assert ready.wait(30)
    try:
        yield made[0]
    finally:
        if thread.is_alive():
            made[0].stop()
        thread.join(60)
        listening.close()
    assert not thread.is_alive()
