"""`serve`: models by name at one address with OpenAI's interface."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EngineError, TunesmithError

if TYPE_CHECKING:
    from tunesmith.core.reporter import Reporter
    from tunesmith.pipeline.sections.serve import ServeConfig
    from tunesmith.serve.keys import Keys

__all__ = ["ServedModel", "Serving", "Wanted", "open_gate", "read_wanted", "serve"]


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


def serve(
    references: Sequence[str] = (),
    *,
    project: str | Path = ".",
    recipe: str | Path | None = None,
    on_ready: Callable[[Serving], None] | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> None:
    """Serve models until the process is asked to stop (SIGTERM, SIGINT); requests in work are finished first. If it is asked
    while it starts, the start is given up.

    `references`: as in `tunesmith.parity`, each optionally as `NAME=REFERENCE` or `NAME@ALIAS=REFERENCE`; without any,
    `serve.models` of the recipe. `recipe`: a file in place of the project's `tunesmith.yaml`; there need not be one.
    `settings`: those of its section `serve` that shall hold instead of what is written there, such as `port=0`.
    `on_ready` is called once the server answers.

    Raises:
        RecipeError: a setting that does not exist or has no such value.
        ArtifactError, ModelError, EvaluationError: no reference can be opened (else the others are served, with the reasons in
            `Serving.refused`); a pinned model that is not served.
        EngineError: an address that cannot be had, or one that others reach without a key; a file of keys that cannot be used.
        StorageError: a database that cannot be used.
    """
    from tunesmith.serve.running import Address, NotStarted, Stop, bind

    wanted = read_wanted(references, Path(project), recipe, settings, reporter)
    config = wanted.config
    address = Address(config.host, config.port, config.drain, config.pause)
    listening = bind(address, has_key=bool(wanted.keys))
    stop = Stop()
    try:
        with stop.on_signals(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(wanted, address, listening, on_ready, stop))
    except NotStarted:
        wanted.how.reporter.note("stopped before it was ready")
    finally:
        listening.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be served (`Named`), how it is opened (`Loading`), and by which rules (`TrafficSettings`, keys)."""

    references: Sequence[Any]
    how: Any
    config: ServeConfig
    keys: Keys
    traffic: Any


def read_wanted(
    references: Sequence[str],
    project: Path,
    recipe: str | Path | None,
    settings: Mapping[str, Any],
    reporter: Reporter | None = None,
) -> Wanted:
    """The recipe's section, with these settings in place of its own. RecipeError or EngineError for what cannot be used."""
    from tunesmith.core.reporter import SilentReporter
    from tunesmith.serve.keys import read_keys
    from tunesmith.serve.loading.asked import Loading, named

    config = _config(project, recipe, settings)
    how = Loading(
        store=Store(project / ".tunesmith"),
        engine=config.engine,
        precision=config.precision,
        rows=config.rows,
        most_adapters=config.max_adapters,
        preload=config.preload,
        pin=frozenset(config.pin),
        context=config.context,
        speculative="" if config.speculative == "off" else config.speculative,
        speculative_tokens=config.speculative_tokens,
        prefix_mib=config.prefix_mib,
        stall_s=config.stall,
        upstream_key=os.environ.get("TUNESMITH_UPSTREAM_KEY", ""),
        reporter=reporter or SilentReporter(),
    )
    names = [named(one) for one in references or config.models]
    keys = read_keys(config.keys, os.environ.get("TUNESMITH_SERVE_KEY", ""))
    return Wanted(references=names, how=how, config=config, keys=keys, traffic=_traffic(config, project))


def _config(project: str | Path, recipe: str | Path | None, settings: Mapping[str, Any]) -> ServeConfig:
    """The recipe's section, with these settings in place of its own."""
    from tunesmith.api.recipes import find_recipe, has_recipe
    from tunesmith.core.settings import section_from
    from tunesmith.pipeline.sections.serve import ServeConfig

    written = find_recipe(project=project, recipe=recipe).serve if has_recipe(project, recipe) else ServeConfig()
    return section_from(ServeConfig, {**written.model_dump(), **settings}, name="serve", why="a setting of the server")


def _traffic(config: ServeConfig, project: Path) -> Any:
    """The `TrafficSettings` of a server."""
    from tunesmith.serve.traffic.file import TrafficFile, read_traffic_file
    from tunesmith.serve.traffic.setup import TrafficSettings

    return TrafficSettings(
        database=config.database or project / ".tunesmith" / "serve.db",
        capture=config.capture,
        keep_days=config.keep_days,
        redact=config.redact,
        file=read_traffic_file(Path(config.traffic)) if config.traffic else TrafficFile(),
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, where it is installed (not on Windows): half the time per request."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(wanted: Wanted, address: Any, listening: Any, on_ready: Callable[[Serving], None] | None, stop: Any) -> None:
    from tunesmith.serve.running import run

    async with open_gate(wanted) as (gate, registry, refused):
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        models = tuple(ServedModel(v.name, v.id, v.engine.name, v.label, v.parity) for v in registry)
        serving = Serving(f"http://{shown}:{port}", models, tuple(map(str, refused)), os.getpid())

        def ready() -> None:
            if on_ready is not None:
                on_ready(serving)

        stop.in_order()
        await run(gate, listening, address, ready, stop)


@asynccontextmanager
async def open_gate(wanted: Wanted) -> AsyncIterator[tuple[Any, Any, Any]]:
    """Everything behind an address, until the block ends: the `Gate`, the `Registry`, and why models were left out."""
    from tunesmith.serve.app import make_app
    from tunesmith.serve.gate import LOOPBACK, Gate, Rates, Service
    from tunesmith.serve.loading.load import load_all
    from tunesmith.serve.observing import Observer
    from tunesmith.serve.pipeline import Pipeline
    from tunesmith.serve.registry import Registry
    from tunesmith.serve.traffic.setup import open_traffic

    registry, config = Registry(), wanted.config
    async with AsyncExitStack() as held:
        held.push_async_callback(_close_engines, registry)
        refused = await load_all(wanted.references, wanted.how, registry)
        if not list(registry):
            raise refused[0] if refused else _nothing()
        observer = Observer()
        explicit = {(one.name, one.alias) for one in wanted.references if one.alias}
        try:
            traffic = open_traffic(wanted.traffic, observer, registry, explicit)
        except TunesmithError as error:  # a model that it names may be missing for one of these reasons
            error.problems += tuple(problem for one in refused for problem in one.problems)
            raise
        held.push_async_callback(traffic.close)
        pipeline = Pipeline(registry, traffic.stages, most_waiting=config.max_waiting)
        app = make_app(pipeline, observer)
        traffic.add_routes(app)
        gate = Gate(
            app=app,
            service=Service(),
            keys=wanted.keys,
            rates=Rates(config.rate),
            hosts=(*LOOPBACK, config.host, *config.allow_hosts),
            origins=config.allow_origins,
        )
        traffic.start(pipeline)
        yield gate, registry, refused


async def _close_engines(registry: Any) -> None:
    for engine in {id(version.engine): version.engine for version in registry}.values():
        await engine.close()


def _nothing() -> EngineError:
    return EngineError(
        "there is nothing to serve",
        value="no reference",
        expected="a run, a model or an address",
        hint="tunesmith serve run:latest",
    )
