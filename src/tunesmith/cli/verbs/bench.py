"""Measure what serving a model costs here, and which way to take. Example: tunesmith bench serve run:latest --clients 1,8"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir

if TYPE_CHECKING:
    from tunesmith.api import BenchCell, BenchedOption, BenchFigure, ServeBench

__all__ = ["command"]


def command(  # noqa: PLR0913 (the options of a verb)
    action: Annotated[str, typer.Argument(help="serve.")],
    reference: Annotated[str, typer.Argument(help="RUN, MODEL, RELEASE, FOLDER, BASE, FILE.gguf or URL#MODEL.")] = "run:latest",
    options: Annotated[
        str,
        typer.Option(
            help="Which to measure, with commas: float32, bfloat16, ngram, gguf (exports), vllm, NAME=FILE.gguf, URL#MODEL. "
            "By default all that can be had here."
        ),
    ] = "",
    clients: Annotated[str, typer.Option(help="Numbers of clients at once, with commas.")] = "1,4,16",
    tokens: Annotated[int, typer.Option(help="Most tokens of an answer.")] = 64,
    prompts: Annotated[str, typer.Option(help="File of rows, or .txt with a prompt in each line; else the test split's.")] = "",
    rows: Annotated[str, typer.Option(help="Answers made at once, as in serve; several with commas are compared.")] = "",
    context: Annotated[int, typer.Option(help="Tokens of prompt and answer; 0 is the model's limit.")] = 0,
    requests: Annotated[int, typer.Option(help="Requests per round and number of clients; at least two per client.")] = 20,
    rounds: Annotated[int, typer.Option(help="Rounds; each starts every option's server once.")] = 5,
    seconds: Annotated[float, typer.Option(help="No round begins later than this; 0 sets no limit.")] = 0.0,
    price_hour: Annotated[
        float | None, typer.Option("--price-hour", help="Price of an hour of this machine, for the cost of tokens.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the JSON object, written after each round.")] = None,
    project: ProjectDir = Path("."),
    json: Json = False,
) -> None:
    """Each option is a real server that is asked over HTTP. Ctrl-C keeps what was measured.

    The exit code is 0 if an option is recommended whose answers were tested and may ship, 2 if none may ship, else 3.
    """
    from tunesmith.api.benching import bench_serve
    from tunesmith.cli.render import ConsoleReporter, console, print_json

    if action != "serve":
        raise typer.BadParameter("choose serve", param_hint="ACTION")
    found = bench_serve(
        reference,
        project=project,
        options=[word.strip() for word in options.split(",") if word.strip()],
        clients=_numbers(clients, "--clients"),
        tokens=tokens,
        prompts=prompts,
        rows=_numbers(rows, "--rows"),
        context=context,
        requests=requests,
        rounds=rounds,
        seconds=seconds,
        price_hour=price_hour,
        out=out,
        reporter=ConsoleReporter(console()),
    )
    print_json(found.as_dict()) if json else _print(found)
    sys.exit(130 if found.ended.startswith("it was stopped") else found.exit_code)


def _numbers(text: str, option: str) -> list[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if wrong := [word for word in words if not word.lstrip("-").isdecimal()]:
        raise typer.BadParameter(f"{wrong[0]}: say whole numbers with commas, such as 1,4,16", param_hint=option)
    return [int(word) for word in words]


def _print(found: ServeBench) -> None:
    from tunesmith.cli.render import console, table

    price = "cost per 1M" if found.price_hour is not None else "machine s per 1M"
    for at, clients in enumerate(found.work.clients):
        rows = [_row(one, one.cells[at], priced=found.price_hour is not None) for one in found.options]
        head = ["option", "first token ms\np50 · p95 · p99", "tokens/s\nall clients", "one\nclient", "failed", price]
        table(f"\n{clients} client{'s' * (clients != 1)}", head, rows)
    table("\nthe options", ["option", "what runs", "answers", "memory MiB", "start s"], [_about(one) for one in found.options])
    say = console()
    say.print("")
    for one in found.options:
        if one.problem:
            say.print(f"  {one.name}: not measured{' further' if one.start_s is not None else ''}: {one.problem}")
    if found.price_hour is None:
        say.print("  cost per million tokens: not measured; --price-hour PRICE gives it")
    if found.ended:
        say.print(f"  measuring ended early: {found.ended}")
    say.print("")
    for text in found.advice.why:
        say.print(f"  {text}")
    if found.advice.typed:
        say.print(f"\n  next  {found.advice.typed}")


def _row(one: BenchedOption, cell: BenchCell, *, priced: bool) -> list[str]:
    money = cell.cost if priced else cell.machine_s
    return [
        one.name,
        " · ".join(_short(figure.value) for figure in cell.first_ms) if cell.requests else "not measured",
        _with_ends(cell.tokens_per_s),
        _short(cell.client_tokens_per_s),
        f"{cell.failed} of {cell.requests}",
        _with_ends(money),
    ]


def _about(one: BenchedOption) -> list[str]:
    memory = "–" if one.memory_bytes is None else f"{one.memory_bytes / 2**20:,.0f}"
    state = {"pass": "tested: SHIP", "fail": "may not ship"}.get(one.state, "not tested")
    return [one.name, one.label, state, memory, _short(one.start_s)]


def _with_ends(figure: BenchFigure) -> str:
    if figure.low is None or figure.high is None:
        return _short(figure.value)
    return f"{_short(figure.value)}\n[{_short(figure.low)}, {_short(figure.high)}]"


def _short(value: float | None) -> str:
    """Three digits; `–` is not measured."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
