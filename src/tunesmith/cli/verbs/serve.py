"""Serve models at one address with OpenAI's interface. Example: tunesmith serve run:latest"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir, RecipeFile

if TYPE_CHECKING:
    from tunesmith.api.serving import Serving

__all__ = ["command"]

_NO_SETTINGS = {"references", "project", "recipe", "json"}  # every other flag is a setting of the section `serve`


def command(  # noqa: PLR0913 (flags)
    references: Annotated[
        list[str] | None,
        typer.Argument(
            help="RUN, RELEASE, FOLDER, BASE+ADAPTER, FILE.gguf or URL#MODEL, each optionally as NAME=REFERENCE. "
            "None: serve.models of the recipe."
        ),
    ] = None,
    project: ProjectDir = Path("."),
    recipe: RecipeFile = None,
    engine: Annotated[str | None, typer.Option(help="For model folders and adapters: transformers or vllm.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; any but loopback needs a key.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = None,
    keys: Annotated[
        str | None, typer.Option(help="File with a line NAME KEY [ROLE] per client; or set TUNESMITH_SERVE_KEY.")
    ] = None,
    allow_hosts: Annotated[list[str] | None, typer.Option("--allow-host", help="Another host name of the server.")] = None,
    allow_origins: Annotated[list[str] | None, typer.Option("--allow-origin", help="Web pages that may call it.")] = None,
    rate: Annotated[float | None, typer.Option(min=0, help="Requests per minute for each key; 0 sets no limit.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, max=1024, help="Answers made at once for each base.")] = None,
    max_waiting: Annotated[int | None, typer.Option(min=0, help="Requests that wait before 429.")] = None,
    max_adapters: Annotated[int | None, typer.Option(min=1, help="Adapters in memory at once for each base.")] = None,
    preload: Annotated[bool | None, typer.Option("--preload/--no-preload", help="Read adapters at the start.")] = None,
    pin: Annotated[list[str] | None, typer.Option(help="Adapter that stays in memory; may be repeated.")] = None,
    context: Annotated[int | None, typer.Option(min=0, help="Tokens of prompt and answer; 0 is the model's limit.")] = None,
    prefix_mib: Annotated[
        int | None, typer.Option(min=0, help="MiB of prompts read before; 0: an eighth of free memory.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Number type: float32, bfloat16 or float16.")] = None,
    speculative: Annotated[str | None, typer.Option(help="Guesses checked in one pass: off, ngram or a smaller model.")] = None,
    speculative_tokens: Annotated[int | None, typer.Option(min=1, max=64, help="Most tokens guessed at a time.")] = None,
    drain: Annotated[float | None, typer.Option(min=0, help="Seconds for requests in work to finish after SIGTERM.")] = None,
    pause: Annotated[float | None, typer.Option(min=0, help="Seconds from SIGTERM until requests are refused.")] = None,
    stall: Annotated[
        float | None, typer.Option(min=0, help="Seconds of silence in mid-answer from an address; 0: no limit.")
    ] = None,
    database: Annotated[str | None, typer.Option(help="File, or postgresql:// address: feedback and traffic.")] = None,
    capture: Annotated[
        bool | None, typer.Option("--capture/--no-capture", help="Also keep prompts and answers, redacted.")
    ] = None,
    keep_days: Annotated[float | None, typer.Option(min=0, help="Days until kept texts are erased; 0: never.")] = None,
    redact: Annotated[bool | None, typer.Option("--redact/--no-redact", help="Kept texts without personal data.")] = None,
    traffic: Annotated[str | None, typer.Option(help="YAML file that says who gets which model.")] = None,
    json: Json = False,
) -> None:
    """The server runs until Ctrl-C or SIGTERM, and finishes what it has begun. Flags hold instead of `serve:` in the recipe.

    `--json` prints one line when it is ready.
    """
    settings = {name: value for name, value in locals().items() if name not in _NO_SETTINGS and value not in (None, [])}

    from tunesmith.api.serving import serve
    from tunesmith.cli.render import ConsoleReporter, console

    serve(
        references or (),
        project=project,
        recipe=recipe,
        on_ready=_print_line if json else _print,
        reporter=ConsoleReporter(console()),
        **settings,
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
    sys.stdout.write(f"\n  chat  {serving.url}/\n")
    sys.stdout.write(f"  try   curl {serving.url}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'\n")
    sys.stdout.write("  stop  Ctrl-C\n\n")
    sys.stdout.flush()
    _print_refused(serving)


def _print_refused(serving: Serving) -> None:
    for text in serving.refused:
        sys.stderr.write(f"error  {text}\n")
