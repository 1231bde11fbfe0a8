"""Chat with base, tuned and merged model side by side. Example: tunesmith chat"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.options import ProjectDir

if TYPE_CHECKING:
    from tunesmith.api.conversation import Conversation

__all__ = ["command"]

_COMMANDS = {
    "/help": "this list",
    "/clear": "forget the conversation",
    "/quit": "end (also /exit, or Ctrl-D)",
}
_ALSO = {"/exit": "/quit", "quit": "/quit", "exit": "/quit", "clear": "/clear"}


def command(
    project: ProjectDir = Path("."),
    run: Annotated[str, typer.Option("--run", help="Id of a run, or run:latest.")] = "run:latest",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum tokens per answer.")] = 200,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Sampling temperature instead of the one used in the evaluation; 0 is greedy.")
    ] = None,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Always take the most likely token, as with --temperature 0.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampling; by default the one used in the evaluation.")] = None,
) -> None:
    """Read questions from the keyboard (or a pipe) until `/quit` or the end."""
    from tunesmith.api.conversation import chat
    from tunesmith.cli.render import console

    wanted = 0.0 if greedy else temperature
    talk = chat(project=project, run=run, max_new_tokens=max_new_tokens, temperature=wanted, seed=seed)
    out = console()
    out.print(f"  answers are {talk.how}")
    out.print(f"  run {talk.run[:8]} on {talk.base}: {' · '.join(talk.systems)}.  /help lists the commands")
    if "merged" not in talk.systems:
        out.print("  no merged model of this run yet; `tunesmith merge` makes it")
    while (line := _ask()) is not None:
        typed = _command(line)
        if typed == "/quit":
            return
        if typed == "/clear":
            talk.clear()
            out.print("  forgotten")
        elif typed == "/help":
            for name, meaning in _COMMANDS.items():
                out.print(f"  {name:<8}{meaning}")
        elif typed:
            out.print(f"  {typed} is not a command, and was not sent to the models; /help lists the commands")
        elif line:
            _answer(line, talk)


def _command(line: str) -> str:
    """The command in a line: one of `_COMMANDS`, another word after a slash as it was typed, or nothing for a question.

    A slash that begins a path or a longer text, as in “/etc/hosts is what?”, is part of a question.
    """
    word = line.lower()
    if (known := _ALSO.get(word, word)) in _COMMANDS:
        return known
    return line if re.fullmatch(r"/\w*", line) else ""


def _ask() -> str | None:
    if sys.stdin.isatty():
        sys.stderr.write("\nyou  ")
        sys.stderr.flush()
    line = sys.stdin.readline()
    return line.strip() if line else None


def _answer(line: str, talk: Conversation) -> None:
    """Draw the answers as they grow."""
    from tunesmith.cli.render import SideBySide

    with SideBySide(list(talk.systems)) as screen:
        for piece in talk.stream(line):
            if piece.ended:
                screen.done(piece.system)
            else:
                screen.add(piece.system, piece.text)
