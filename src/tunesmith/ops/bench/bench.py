"""`tunesmith bench serve`: the options of a model found, measured, and put into one record with a recommendation."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from tunesmith.core.errors import EvaluationError
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.ops.bench.figures import BenchCell, cell_of
from tunesmith.ops.bench.measuring import Measured, Work, measure
from tunesmith.ops.bench.options import Option
from tunesmith.ops.bench.prompts import Prompts
from tunesmith.ops.bench.recommending import BenchAdvice, advise

__all__ = ["BenchedOption", "ServeBench", "bench_serving"]

_BUSY = 0.5  # load per core of other programs from which on the user is warned
_PACKAGES = ("tunesmith", "torch", "transformers", "xllamacpp")
_CODES = {"pass": 0, "fail": 2, "not measured": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchedOption:
    """An option and its figures with each number of clients. `state`, `verdict` and `judged_by`: what is known of its answers.

    `problem`: why it was not measured, or not further. `start_s`: mean of its starts; `memory_bytes`: the most that its
    processes had. `typed`: the command that serves it.
    """

    name: str
    label: str
    state: str
    verdict: str | None
    judged_by: str
    problem: str
    start_s: float | None
    memory_bytes: int | None
    cells: tuple[BenchCell, ...]
    typed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeBench:
    """What serving a model costs on this machine. `ended`: why measuring ended before its last round, else empty.

    `work`: what was asked; `price_hour`: of the machine, None if it was not given; `machine`: what it is, and its load at the
    start.
    """

    reference: str
    options: tuple[BenchedOption, ...]
    advice: BenchAdvice
    work: Work
    prompts: str
    price_hour: float | None
    machine: dict[str, Any]
    ended: str = ""

    @property
    def exit_code(self) -> int:
        """0 if an option is recommended whose answers were tested, 2 if none may ship, 3 if that is not measured."""
        return _CODES[self.advice.state]

    def as_dict(self) -> dict[str, Any]:
        """The object that `tunesmith bench serve --json` prints."""
        return {**asdict(self), "recommended": self.advice.option or None}


def bench_serving(
    reference: str,
    options: Sequence[Option],
    prompts: Prompts,
    work: Work,
    *,
    price_hour: float | None = None,
    on_round: Callable[[ServeBench], None] = lambda _: None,
    reporter: Reporter | None = None,
) -> ServeBench:
    """Measure these options of a model. `on_round` gets what is known after each round. See `tunesmith.bench_serve`.

    EvaluationError for a number that nothing can be measured with.
    """
    _check(work, price_hour)
    reporter = reporter or SilentReporter()
    machine = _machine()
    _say(options, prompts.source, work, machine, reporter)

    def result(found: Sequence[Measured], ended: str = "") -> ServeBench:
        cells = {
            (one.option.name, clients): cell_of(one, clients, price_hour=price_hour)
            for one in found
            for clients in work.clients
        }
        return ServeBench(
            reference=reference,
            options=tuple(_benched(one, [cells[one.option.name, clients] for clients in work.clients]) for one in found),
            advice=advise(found, cells),
            work=work,
            prompts=prompts.source,
            price_hour=price_hour,
            machine=machine,
            ended=ended,
        )

    found, ended = measure(options, prompts, work, reporter=reporter, on_round=lambda so_far: on_round(result(so_far)))
    return result(found, ended)


def _benched(one: Measured, cells: Sequence[BenchCell]) -> BenchedOption:
    judged = one.option.judged
    return BenchedOption(
        name=one.option.name,
        label=one.option.label,
        state=judged.state,
        verdict=judged.verdict,
        judged_by=judged.why,
        problem=one.problem,
        start_s=sum(one.start_s) / len(one.start_s) if one.start_s else None,
        memory_bytes=one.memory_bytes,
        cells=tuple(cells),
        typed=one.option.typed,
    )


def _say(options: Sequence[Option], source: str, work: Work, machine: dict[str, Any], reporter: Reporter) -> None:
    """What will be done, before it is."""
    count = sum(work.in_window(clients) for clients in work.clients)
    names = ", ".join(one.name for one in options)
    reporter.note(f"{len(options)} option{'s' * (len(options) != 1)}: {names}")
    rounds = f"{work.rounds} round{'s' * (work.rounds != 1)}"
    at_once = ", ".join(map(str, work.clients))
    reporter.note(
        f"{rounds} of {count} requests to each option, up to {work.tokens} tokens; clients at once: {at_once}; {source}"
    )
    if machine["load"] > _BUSY * machine["cores"]:
        reporter.warn(
            f"other programs are busy here (load {machine['load']:.1f} on {machine['cores']} cores): compare the options, and "
            "measure again on an idle machine before you rely on a figure"
        )


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": psutil.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "threads": os.environ.get("OMP_NUM_THREADS") or "each engine's own choice",
        "load": round(psutil.getloadavg()[0], 2),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": dict(_versions()),
    }


def _processor() -> str:
    """Its name where the system tells it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _check(work: Work, price_hour: float | None) -> None:
    """EvaluationError for a number that cannot be."""
    wrong = [
        (not work.clients or min(work.clients) < 1, "clients", work.clients, "one number or more, each at least 1", "1,4,16"),
        (work.tokens < 2, "tokens", work.tokens, "2 tokens or more: the time between them is measured", "64"),
        (work.requests < 1, "requests", work.requests, "1 or more", "20"),
        (work.rounds < 1, "rounds", work.rounds, "1 or more; intervals need 2", "5"),
        (not work.seconds >= 0, "seconds", work.seconds, "0 (no limit) or more", "600"),
        (price_hour is not None and not 0 <= price_hour < float("inf"), "price-hour", price_hour, "0 or more", "0.5"),
    ]
    for is_wrong, name, value, expected, instead in wrong:
        if is_wrong:
            raise EvaluationError(
                f"nothing can be measured with this --{name}", value=value, expected=expected, hint=f"--{name} {instead}"
            )
