"""The `tunesmith` command: finds the verbs, runs one. Imports nothing heavy, so `--help` answers at once.

Exit codes: 0 pass or SHIP, 1 error, 2 DON'T SHIP or a blocking finding, 3 CAN'T TELL or not measured,
130 or 143 when stopped by Ctrl-C or SIGTERM with a checkpoint to resume from.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from tunesmith.cli import verbs

__all__ = ["app", "main", "verb_helps"]

_GROUPS = {  # how `--help` arranges the commands; one that no group names is listed under the last
    "Start here": ("demo", "run", "init", "chat", "show", "path"),
    "Step by step": ("ingest", "build", "plan", "train", "merge", "eval", "export"),
    "Your data": ("check", "review", "convert", "dedup", "split", "golden", "synth"),
    "Proof": ("verdict", "audit", "compare", "crossfit", "advise", "arena", "judge", "parity", "selftest"),
    "Experiments": ("runs", "sweep"),
    "Publish": ("card", "release", "push"),
    "Serve": ("serve", "ab", "feedback", "rollback", "route", "deploy", "bench"),
    "More": ("bases", "lora", "mcp"),
}
_CTRL_C = 130  # what typer returns for it, since it ends no process here
_PLAIN: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}


def verb_helps() -> dict[str, str]:
    """The help of every verb by its name: the docstring of its module, read from the source without importing it.

    In the order of the groups of `--help`; a verb that no group names comes last.
    """
    found = {}
    for folder in map(Path, verbs.__path__):
        for module in pkgutil.iter_modules([str(folder)]):
            docstring = re.match(r'\s*"""(.+?)"""', (folder / f"{module.name}.py").read_text(encoding="utf-8"), re.DOTALL)
            found[module.name] = docstring[1] if docstring else ""
    known = [name for group in _GROUPS.values() for name in group if name in found]
    names = known + sorted(found.keys() - set(known))
    return {name: found[name] for name in names}


class _Verbs(TyperGroup):
    """Commands with a name and a help text; the module of a verb is imported when the verb is called."""

    def __init__(self, **settings: Any) -> None:
        known = {name: TyperCommand(name, help=text, rich_markup_mode=None) for name, text in verb_helps().items()}
        super().__init__(**{**settings, "commands": known})

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands under the headings of their groups, all in columns of one width."""
        left = [name for name in self.commands if not any(name in group for group in _GROUPS.values())]
        width = max(map(len, self.commands))
        for number, (title, names) in enumerate(_GROUPS.items(), 1):
            shown = [*(name for name in names if name in self.commands), *(left if number == len(_GROUPS) else [])]
            limit = formatter.width - width - 6
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), self.commands[name].get_short_help_str(limit)) for name in shown])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        module = importlib.import_module(f"{verbs.__name__}.{name}")
        verb = typer.Typer(**_PLAIN)
        verb.command(name, help=_with_example(module.__doc__ or ""))(module.command)
        return name, typer.main.get_command(verb), rest


def _with_example(text: str) -> str:
    """The example on a line of its own, which is never wrapped, so that it can be pasted."""
    about, _, example = text.partition(" Example: ")
    return f"{about}\n\n\b\nExample:\n  {example}" if example else text


app = typer.Typer(
    cls=_Verbs,
    help="Fine-tune a small language model on your own writing, prove that it helped, and run it.\n\nExample: tunesmith demo",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    **_PLAIN,
)


@app.callback()
def _top(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    if version:
        from tunesmith import __version__

        sys.stdout.write(f"tunesmith {__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")


@contextmanager
def _leading() -> Iterator[bool]:
    """Whether this process does what is typed: one that torchrun started beside another trains along."""
    if "WORLD_SIZE" not in os.environ:
        yield True
        return
    from tunesmith.api.processes import together

    with together() as leads:
        yield leads


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake becomes a message and an exit code, our own mistake a traceback."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # OpenMP threads that spin for long starve each other when anything else is busy: 8 to 17 times slower (docs/log.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    typed = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with _leading() as leads:
            if leads and app(args=typed, prog_name="tunesmith", standalone_mode=False) == _CTRL_C:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.stderr.write("stopped; type the same command again to continue\n")
        sys.exit(_CTRL_C)
    except Exception as error:
        from tunesmith.cli.render import exit_code_of

        code = exit_code_of(error, typed)
        if code is None:
            raise
        sys.exit(code)
