"""The server of an option: a process of `tunesmith serve` that is started, and ends with the block; or one at an address."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.core.errors import EngineError
from tunesmith.engines.process import ServerProcess
from tunesmith.ops.bench.asking import only_model
from tunesmith.ops.bench.options import NEW_DATABASE, Option

__all__ = ["Running", "running", "short_reason"]

_REFUSED_S = 10.0  # until a server that left a model out has said why
_ENDING_S = 1.0  # until a server whose connections broke has ended
_ERROR = "error  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers. `start_s`: from its start to its word that it is ready; None at an address. `memory_bytes`: the
    most that its processes have had, None where they are not ours."""

    url: str
    model: str
    start_s: float | None = None
    memory_bytes: Callable[[], int | None] = field(default=lambda: None)
    check_alive: Callable[[], None] = field(default=lambda: None)


@contextmanager
def running(option: Option, *, ready_s: float, clock: Callable[[], float] = time.monotonic) -> Iterator[Running]:
    """The server of an option for the length of a block. EngineError if it does not start within `ready_s`, or nothing answers
    at its address."""
    if not option.command:
        yield Running(url=option.url, model=option.model or only_model(option.url))
        return
    begin = clock()
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        process = ServerProcess(
            [str(Path(folder) / "serve.db") if part == NEW_DATABASE else part for part in option.command],
            engine="the server",
            hint=option.typed or "start it yourself to see why",
            environment={"TUNESMITH_SERVE_KEY": ""},
        )
        try:
            found = process.wait_for(lambda: _ready(process.log()), what="its start", timeout_s=ready_s)
            if option.model not in found["models"]:
                raise _left_out(process, option)
            yield Running(
                url=str(found["url"]),
                model=option.model,
                start_s=clock() - begin,
                memory_bytes=process.peak_memory_bytes,
                check_alive=lambda: process.check_alive(patience_s=_ENDING_S),
            )
        finally:
            process.stop()


def _ready(log: str) -> dict[str, Any] | None:
    """The line of `tunesmith serve --json`, once it is whole."""
    for line in log.splitlines(keepends=True):
        if line.startswith('{"url"') and line.endswith("\n"):
            found: dict[str, Any] = json.loads(line)
            return found
    return None


def _left_out(process: ServerProcess, option: Option) -> EngineError:
    why = process.wait_for(lambda: _said(process.log()), what="its word why a model is left out", timeout_s=_REFUSED_S)
    return EngineError(f"the model is not served: {why}", value=option.name, expected="a model that is", hint=option.typed)


def _said(log: str) -> str | None:
    """What the log says is wrong."""
    return next((line.removeprefix(_ERROR) for line in log.splitlines() if line.startswith(_ERROR)), None)


def short_reason(error: EngineError) -> str:
    """One line: what the server's own log says is wrong, else its last line, else the error's own words."""
    what = error.problems[0].what
    head, _, log = what.partition("its log:\n")
    lines = [line for line in log.splitlines() if line.strip()]
    if not lines:
        return what.splitlines()[0]
    own = _said(log)
    told = own if own is not None else lines[-2] if len(lines) > 1 else lines[-1]
    return f"{head.partition(';')[0]}: {told}"
