"""The server process: the socket, readiness, and an end that cuts no stream."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from tunesmith.core.errors import EngineError
from tunesmith.serve.gate import Gate, Service
from tunesmith.serve.protocol import limited_protocol

__all__ = ["Address", "NotStarted", "Stop", "bind", "is_loopback", "run"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens. Once asked to stop, it is not ready any more; after `pause_s`, in which load balancers see it,
    it refuses new requests; after further `drain_s` it cuts those in work. `head_s`: time for a request's headers."""

    host: str
    port: int
    drain_s: float = 60.0
    pause_s: float = 0.0
    head_s: float = 30.0


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bind(address: Address, *, has_key: bool) -> socket.socket:
    """The listening socket. EngineError for an address that others can reach without a key, or one that cannot be had."""
    if not is_loopback(address.host) and not has_key:
        raise EngineError(
            "other machines could use this address, and there is no key",
            value=address.host,
            expected="a loopback address, or at least one key",
            hint="TUNESMITH_SERVE_KEY=… tunesmith serve …, or --keys FILE, or leave --host out",
        )
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    made = socket.socket(family)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address.host.strip("[]"), address.port))
        made.listen(2048)
    except OSError as error:
        made.close()
        raise EngineError(
            f"the server cannot listen there: {error.strerror or error}",
            value=f"{address.host}:{address.port}",
            expected="an address of this machine with a free port",
            hint="--port 0   takes a free one; or stop the program that uses it",
        ) from error
    made.setblocking(False)
    return made


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: it would close connections before those in work have ended."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None are captured."""
        yield


class NotStarted(KeyboardInterrupt):
    """The process was asked to end before it was ready."""


class Stop:
    """The wish to end: the first asks for an orderly end, the second for one at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.at_once = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self) -> None:
        self.at_once = self.asked.is_set()
        self.asked.set()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT are this wish, in the main thread. Before `in_order` they raise NotStarted wherever it is: weights
        are read there without a pause, in which a wish would be heard."""

        def hear(*_: object) -> None:
            if self._loop is None:
                raise NotStarted
            self._loop.call_soon_threadsafe(self)

        before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def in_order(self) -> None:
        """From now on the running loop hears the wish."""
        self._loop = asyncio.get_running_loop()


async def run(gate: Gate, listening: socket.socket, address: Address, ready: Callable[[], None], stop: Stop) -> None:
    """Serve until `stop`, then end in order: not ready, then refuse, then finish what is in work."""
    config = uvicorn.Config(
        gate,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="off",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        http=limited_protocol(address.head_s),
        ws="none",
        backlog=2048,
    )
    server = _Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    gate.service.ready = True
    ready()
    ended = asyncio.ensure_future(stop.asked.wait())
    await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    await _drain(gate.service, address, stop)
    server.force_exit, server.should_exit = stop.at_once, True
    await serving


async def _drain(service: Service, address: Address, stop: Stop) -> None:
    service.ready = False
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while not stop.at_once and loop.time() < begin + address.pause_s:
        await asyncio.sleep(0.02)
    service.refusing = True
    deadline = loop.time() + address.drain_s
    while service.in_work and loop.time() < deadline and not stop.at_once:
        await asyncio.sleep(0.02)
