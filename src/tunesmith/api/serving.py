"""`serve`: models by name at one address with OpenAI's interface."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EngineError

if TYPE_CHECKING:
    from tunesmith.core.reporter import Reporter

__all__ = ["ServedModel", "Serving", "serve"]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A version that is served: `name` is what a request asks for, `parity` what the check of its prompts found."""

    name: str
    version: str
    engine: str
    label: str
    parity: str


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that is ready. `refused`: why models were left out, each as a message of four parts."""

    url: str
    models: tuple[ServedModel, ...]
    refused: tuple[str, ...]
    pid: int

    def as_dict(self) -> dict[str, Any]:
        """For scripts: `url`, the names of the `models`, `pid`."""
        return {"url": self.url, "models": [one.name for one in self.models], "pid": self.pid}


def serve(  # noqa: PLR0913 (what a person may choose about a server)
    references: Sequence[str],
    *,
    project: str | Path = ".",
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: str | Path = "",
    allow_hosts: Sequence[str] = (),
    allow_origins: Sequence[str] = (),
    requests_per_minute: float = 0.0,
    rows: int = 32,
    max_waiting: int = 512,
    max_adapters: int = 16,
    context: int = 0,
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    drain_s: float = 60.0,
    pause_s: float = 0.0,
    database: str | Path = "",
    capture: bool = False,
    keep_days: float = 0.0,
    redact: bool = True,
    traffic: str | Path = "",
    on_ready: Callable[[Serving], None] | None = None,
    reporter: Reporter | None = None,
) -> None:
    """Serve models until the process is asked to stop (SIGTERM, SIGINT); requests in work are finished first.

    `references`: as in `tunesmith.parity`, each optionally as `NAME=REFERENCE` or `NAME@ALIAS=REFERENCE`. `port` 0 takes a
    free one. `keys`: a file with a line `NAME KEY` per client; TUNESMITH_SERVE_KEY in the environment is a key as well. Once
    there is a key, every route but /healthz needs one. `allow_hosts`: further names by which the server may be addressed.
    `rows`: answers at once for each base. `context`: tokens of prompt and answer, 0 for the model's own limit. `pause_s`: from
    the wish to stop to the first refusal; `drain_s`: from there until requests in work are cut. `on_ready` is called once it
    answers. `database`: a file for SQLite or the address of a PostgreSQL in which answers and feedback are kept, by default
    .tunesmith/serve.db of the project. `capture`: keep prompts and answers as well, for `keep_days` days (0: until they are
    forgotten); `redact`: without the secrets and personal data that the data stage's checks find.
    `traffic`: a YAML file that says who gets which model (docs/guides/traffic.md).

    Raises:
        ArtifactError, ModelError, EvaluationError: a reference that cannot be opened.
        EngineError: an address that cannot be had, or one that others reach without a key; or no model is left to serve.
        StorageError: a database that cannot be used.
    """
    from tunesmith.core.reporter import SilentReporter
    from tunesmith.serve.loading.asked import Loading, named
    from tunesmith.serve.running import Address, bind

    address = Address(host, port, drain_s, pause_s)
    known = _keys(keys)
    listening = bind(address, has_key=bool(known))
    how = Loading(
        store=Store(Path(project) / ".tunesmith"),
        precision=precision,
        rows=rows,
        most_adapters=max_adapters,
        context=context,
        upstream_key=os.environ.get("TUNESMITH_UPSTREAM_KEY", ""),
        reporter=reporter or SilentReporter(),
    )
    settings = _Settings(
        known,
        tuple(allow_hosts),
        tuple(allow_origins),
        requests_per_minute,
        max_waiting,
        address,
        listening,
        on_ready,
        _traffic(traffic, database or Path(project) / ".tunesmith" / "serve.db", capture, keep_days, redact),
    )
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve([named(one) for one in references], how, settings))
    finally:
        listening.close()


def _traffic(file: str | Path, database: str | Path, capture: bool, keep_days: float, redact: bool) -> Any:
    """The `TrafficSettings` of a server."""
    from tunesmith.serve.traffic.file import TrafficFile, read_traffic_file
    from tunesmith.serve.traffic.setup import TrafficSettings

    read = read_traffic_file(Path(file)) if file else TrafficFile()
    return TrafficSettings(database=database, capture=capture, keep_days=keep_days, redact=redact, file=read)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where it is installed (not on Windows): half the time per request."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


@dataclass(frozen=True, slots=True)
class _Settings:
    keys: dict[str, str]
    hosts: tuple[str, ...]
    origins: tuple[str, ...]
    per_minute: float
    max_waiting: int
    address: Any
    listening: Any
    on_ready: Callable[[Serving], None] | None
    traffic: Any


async def _serve(references: Sequence[Any], how: Any, settings: _Settings) -> None:
    from tunesmith.serve.app import make_app
    from tunesmith.serve.gate import LOOPBACK, Gate, Keys, Rates, Service
    from tunesmith.serve.loading.load import load_all
    from tunesmith.serve.observing import Observer
    from tunesmith.serve.pipeline import Pipeline
    from tunesmith.serve.registry import Registry
    from tunesmith.serve.running import Stop, run
    from tunesmith.serve.traffic.setup import open_traffic

    registry = Registry()
    refused = await load_all(references, how, registry)
    if not list(registry):
        raise refused[0] if refused else _nothing()
    observer = Observer()
    traffic = open_traffic(settings.traffic, observer, registry, {(one.name, one.alias) for one in references if one.alias})
    pipeline = Pipeline(registry, traffic.stages, most_waiting=settings.max_waiting)
    app = make_app(pipeline, observer)
    traffic.add_routes(app)
    gate = Gate(
        app=app,
        service=Service(),
        keys=Keys(settings.keys),
        rates=Rates(settings.per_minute),
        hosts=(*LOOPBACK, settings.address.host, *settings.hosts),
        origins=settings.origins,
    )
    host, port = settings.listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    models = tuple(ServedModel(v.name, v.id, v.engine.name, v.label, v.parity) for v in registry)
    serving = Serving(f"http://{shown}:{port}", models, tuple(map(str, refused)), os.getpid())

    def ready() -> None:
        if settings.on_ready is not None:
            settings.on_ready(serving)

    stop = Stop()
    stop.on_signals()
    traffic.start(pipeline)
    try:
        await run(gate, settings.listening, settings.address, ready, stop)
    finally:
        for engine in {id(version.engine): version.engine for version in registry}.values():
            await engine.close()
        await traffic.close()


def _nothing() -> EngineError:
    return EngineError(
        "there is nothing to serve",
        value="no reference",
        expected="a run, a model or an address",
        hint="tunesmith serve run:latest",
    )


def _keys(file: str | Path) -> dict[str, str]:
    """Client's name → key."""
    found = {}
    if alone := os.environ.get("TUNESMITH_SERVE_KEY", ""):
        found["default"] = alone
    if not file:
        return found
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise EngineError(
            "the file of keys cannot be read", value=str(file), expected=f"a readable file ({error})", hint="check the path"
        ) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split()
        if len(parts) != 2 or len(parts[1]) < 16:
            raise EngineError(
                "the file of keys has a line that cannot be used",
                value=f"{file}, line {number}",
                expected="NAME KEY, with a key of at least 16 characters",
                hint="python -c 'import secrets; print(\"me\", secrets.token_urlsafe(32))' >> FILE",
            )
        found[parts[0]] = parts[1]
    return found
