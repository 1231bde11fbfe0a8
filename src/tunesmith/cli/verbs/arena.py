"""Vote blindly between the answers of two systems or more. Example: tunesmith arena"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.options import Json, ProjectDir, refuse_without_effect

__all__ = ["command"]

_TAKES = {
    "vote": ("system", "questions", "ask", "pairs", "seed", "max_new_tokens", "voter", "terminal", "port"),
    "results": ("id", "json"),
    "export": ("id", "json", "as_", "out"),
}


def command(  # noqa: PLR0913 (the options of a verb)
    context: typer.Context,
    action: Annotated[str, typer.Argument(help="vote, results or export.")] = "vote",
    project: ProjectDir = Path("."),
    system: Annotated[
        list[str] | None,
        typer.Option("--system", help="A system of the evaluation (base, prompted, tuned …) or a model; two to eight times."),
    ] = None,
    questions: Annotated[
        Path | None, typer.Option("--questions", help="Your own questions, one per line or JSON lines; answers are generated.")
    ] = None,
    ask: Annotated[str, typer.Option("--ask", help="What voters are asked instead of: Which sounds more like me?")] = "",
    pairs: Annotated[int, typer.Option("--pairs", min=1, max=2000, help="Maximum number of pairs.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the pairs, their order and their sides.")] = 7,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum tokens per generated answer.")] = 200,
    voter: Annotated[str, typer.Option("--voter", help="Your name in this arena, or any other.")] = "me",
    terminal: Annotated[bool, typer.Option("--terminal", help="Vote in the terminal instead of a page.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the page; 0 takes a free one.")] = 0,
    id: Annotated[str, typer.Option("--id", help="With results and export: first digits of the arena's id.")] = "arena:latest",
    as_: Annotated[str, typer.Option("--as", help="With export: preference or labels.")] = "preference",
    out: Annotated[Path | None, typer.Option("--out", help="With export: the file to write.")] = None,
    json: Json = False,
) -> None:
    """`results` prints what the votes say: exit code 0 if they tell, 3 if they do not. `export` writes them as rows."""
    from tunesmith.cli import voting
    from tunesmith.core.errors import EvaluationError

    if action not in _TAKES:
        raise EvaluationError(
            "arena can do three things", value=action, expected=", ".join(_TAKES), hint="tunesmith arena results"
        )
    refuse_without_effect(context, action, _TAKES)
    if action == "results":
        sys.exit(voting.results(id, project, json=json))
    if action == "export":
        voting.export(id, project, kind=as_, out=out, json=json)
        return
    from tunesmith.api import check_voter, open_arena
    from tunesmith.cli.render import ConsoleReporter, console

    voter = check_voter(voter)
    arena = open_arena(
        project=project,
        systems=system or (),
        questions=questions,
        ask=ask,
        pairs=pairs,
        seed=seed,
        max_new_tokens=max_new_tokens,
        reporter=ConsoleReporter(console()),
    )
    if terminal:
        voting.in_terminal(arena, voter)
    else:
        voting.in_page(arena, voter, port)
