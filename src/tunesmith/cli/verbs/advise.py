"""Advise whether to prompt, retrieve, tune or use a bigger model. Example: tunesmith advise --examples 300 --about style"""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.options import Json, ProjectDir

if TYPE_CHECKING:
    from tunesmith.api import AdviceResult

__all__ = ["About", "Changes", "command"]


class Changes(Enum):
    """How often what the answers say changes."""

    rarely = "rarely"
    monthly = "monthly"
    daily = "daily"


class About(Enum):
    """What is to get better."""

    style = "style"
    format = "format"
    facts = "facts"
    skill = "skill"


def command(  # noqa: PLR0913 (the options of a verb)
    project: ProjectDir = Path("."),
    examples: Annotated[int | None, typer.Option(min=0, help="Good examples or passages that you have.")] = None,
    changes: Annotated[Changes | None, typer.Option(help="How often what the answers say changes.")] = None,
    citations: Annotated[bool | None, typer.Option(help="Whether an answer must name its source.")] = None,
    about: Annotated[About | None, typer.Option(help="What is to get better.")] = None,
    fast: Annotated[bool | None, typer.Option(help="Whether an answer must come at once.")] = None,
    private: Annotated[bool | None, typer.Option(help="Whether all text must stay on this machine.")] = None,
    paid: Annotated[bool | None, typer.Option(help="Whether there is money for a bigger model's server.")] = None,
    margin: Annotated[float | None, typer.Option(min=0, help="How much worse than the best is good enough.")] = None,
    json: Json = False,
) -> None:
    """By the project's newest evaluation if there is one, else by rules. In a terminal, what they need is asked.

    Exits with 3 if the measurements leave it open.
    """
    from tunesmith.api.advising import TaskAnswers, advise, newest_evaluation
    from tunesmith.cli.render import print_json

    answers = TaskAnswers(
        examples=examples,
        changes=None if changes is None else changes.value,
        citations=citations,
        about=None if about is None else about.value,
        fast=fast,
        private=private,
        paid=paid,
    )
    if not answers.given and sys.stdin.isatty() and newest_evaluation(project) is None:
        answers = TaskAnswers(**_asked())
    found = advise(project=project, answers=answers, margin=margin)
    if json:
        print_json(found.as_dict())
    else:
        _show(found)
    if found.exit_code:
        sys.exit(found.exit_code)


def _show(found: AdviceResult) -> None:
    from tunesmith.cli.render import console, table

    say = console()
    how = "" if found.measured else "  (by rules, before anything is measured)"
    say.print(f"{found.advice or 'no advice yet'}{how}")
    for reason in found.reasons:
        say.print(f"  {reason}")
    if found.systems:
        rows = [[one["name"], one["advice"], _number(one["mean"]), one["state"]] for one in found.systems]
        table("", ["system", "advice", found.metric or "", "against the best"], rows)
    if found.not_measured:
        say.print(f"not measured: {'; '.join(found.not_measured)}")
    say.print(f"next:  {found.next}")


def _asked() -> dict[str, Any]:
    """The short form, asked in the terminal; an empty answer is not known."""
    from tunesmith.api.advising import QUESTIONS

    words: dict[str, Any] = {"examples": _count, "changes": Changes, "about": About}
    return {name: _one(question, words.get(name, _yes)) for name, question in QUESTIONS.items()}


def _one(question: str, read: Any) -> Any:
    """One answer, asked again until it can be read; None for an empty one."""
    while True:
        typed = typer.prompt(question, default="", show_default=False, err=True).strip().lower()
        if not typed:
            return None
        try:
            found = read(typed)
        except ValueError:
            typer.echo("  not understood; press Enter if you do not know", err=True)
            continue
        return found.value if isinstance(found, Enum) else found


def _count(typed: str) -> int:
    number = int(typed.replace(",", ""))
    if number < 0:
        raise ValueError(typed)
    return number


def _yes(typed: str) -> bool:
    if typed in ("y", "yes", "n", "no"):
        return typed[0] == "y"
    raise ValueError(typed)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"
