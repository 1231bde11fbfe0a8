"""Serve models at one address with OpenAI's interface. Example: tunesmith serve run:latest"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from tunesmith.cli.options import Json, ProjectDir

if TYPE_CHECKING:
    from tunesmith.api.serving import Serving

__all__ = ["command"]


def command(  # noqa: PLR0913 (flags)
    references: Annotated[
        list[str],
        typer.Argument(help="RUN, RELEASE, FOLDER, BASE+ADAPTER, FILE.gguf or URL#MODEL, each optionally as NAME=REFERENCE."),
    ],
    project: ProjectDir = Path("."),
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    keys: Annotated[str, typer.Option(help="File with a line NAME KEY per client; or set TUNESMITH_SERVE_KEY.")] = "",
    allow_host: Annotated[list[str], typer.Option(help="Further host name by which the server may be addressed.")] = [],  # noqa: B006
    allow_origin: Annotated[list[str], typer.Option(help="Origin of web pages that may call it.")] = [],  # noqa: B006
    rate: Annotated[float, typer.Option(min=0, help="Requests per minute for each key; 0 sets no limit.")] = 0.0,
    rows: Annotated[int, typer.Option(min=1, max=1024, help="Answers made at once for each base.")] = 32,
    max_waiting: Annotated[int, typer.Option(min=0, help="Requests that wait before 429.")] = 512,
    max_adapters: Annotated[int, typer.Option(min=1, help="Adapters in memory at once for each base.")] = 16,
    context: Annotated[int, typer.Option(min=0, help="Tokens of prompt and answer; 0 is the model's own limit.")] = 0,
    precision: Annotated[str, typer.Option(help="Number type: float32, bfloat16 or float16.")] = "float32",
    drain: Annotated[float, typer.Option(min=0, help="Seconds for requests in work to finish after SIGTERM.")] = 60.0,
    pause: Annotated[float, typer.Option(min=0, help="Seconds from SIGTERM until new requests are refused.")] = 0.0,
    database: Annotated[str, typer.Option(help="File, or postgresql:// address, that keeps feedback and traffic.")] = "",
    capture: Annotated[bool, typer.Option("--capture", help="Also keep prompts and answers, redacted.")] = False,
    keep_days: Annotated[float, typer.Option(min=0, help="Days after which kept texts are erased; 0 keeps them.")] = 0.0,
    no_redact: Annotated[bool, typer.Option("--no-redact", help="Keep texts as they are, personal data included.")] = False,
    traffic: Annotated[str, typer.Option(help="YAML file that says who gets which model.")] = "",
    json: Json = False,
) -> None:
    """The server runs until Ctrl-C or SIGTERM, and finishes what it has begun. `--json` prints one line when it is ready."""
    from tunesmith.api.serving import serve
    from tunesmith.cli.render import ConsoleReporter, console

    if precision not in ("float32", "bfloat16", "float16"):
        raise typer.BadParameter("choose float32, bfloat16 or float16", param_hint="--precision")
    serve(
        references,
        project=project,
        host=host,
        port=port,
        keys=keys,
        allow_hosts=allow_host,
        allow_origins=allow_origin,
        requests_per_minute=rate,
        rows=rows,
        max_waiting=max_waiting,
        max_adapters=max_adapters,
        context=context,
        precision=cast("Literal['float32', 'bfloat16', 'float16']", precision),
        drain_s=drain,
        pause_s=pause,
        database=database,
        capture=capture,
        keep_days=keep_days,
        redact=not no_redact,
        traffic=traffic,
        on_ready=_print_line if json else _print,
        reporter=ConsoleReporter(console()),
    )


def _print_line(serving: Serving) -> None:
    import orjson

    sys.stdout.write(orjson.dumps(serving.as_dict()).decode() + "\n")
    sys.stdout.flush()
    _print_refused(serving)


def _print(serving: Serving) -> None:
    width = max(len(f"{one.name}@{one.version}") for one in serving.models)
    sys.stdout.write(f"\n  {serving.url}/v1\n\n")
    for one in serving.models:
        sys.stdout.write(
            f"  {f'{one.name}@{one.version}':<{width}}  {one.engine}: {one.label}\n{'':<{width}}    {one.parity}\n"
        )
    first = serving.models[0].name
    body = f'{{"model": "{first}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    sys.stdout.write(f"\n  try   curl {serving.url}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'\n")
    sys.stdout.write("  stop  Ctrl-C\n\n")
    sys.stdout.flush()
    _print_refused(serving)


def _print_refused(serving: Serving) -> None:
    for text in serving.refused:
        sys.stderr.write(f"error  {text}\n")
