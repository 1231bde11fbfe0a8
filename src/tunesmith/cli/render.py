"""The only module that prints: stage lines, progress, errors, tables. Messages go to stderr, data to stdout.

Without a terminal, plain lines without bars or colour are printed. `NO_COLOR` is honoured by rich.
"""

from __future__ import annotations

import difflib
import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import orjson
import typer
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from tunesmith import __version__
from tunesmith.core.errors import BlockedError, Interrupted, Problem, TunesmithError
from tunesmith.core.reporter import ChainStageBegan, Event, PlanMade, StageDone, VerdictReached

__all__ = ["ConsoleReporter", "SideBySide", "console", "exit_code_of", "print_json", "table"]

_WIDTH = 14
_QUIET_S = 15.0  # between two progress lines where there is no terminal


def console() -> Console:
    """The console for messages, on stderr. Text is printed as it is; brackets and colons are not read as markup."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=not sys.stderr.isatty())


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode() + "\n")
    sys.stdout.flush()


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """A table on stdout."""
    out = Console(highlight=False, markup=False, emoji=False)
    if title:
        out.print(Text(title, style="italic"))
    drawn = Table(*head, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    out.print(drawn)


def exit_code_of(error: Exception, typed: Sequence[str]) -> int | None:
    """Print an error that the user can do something about and return its exit code; None for our own defects.

    `typed` are the words behind `tunesmith`.
    """
    out = console()
    if isinstance(error, Interrupted):
        out.print(f"  {error}; type the same command again to resume")
        return error.exit_code
    if isinstance(error, typer.Abort):
        return 130
    if hasattr(error, "format_message"):  # a usage error of the command line's own library
        said, meant = _suggestion(str(error.format_message()).rstrip("."))
        known = typed[:1] if "No such command" not in said else []
        verb = next((word for word in known if not word.startswith("-")), "")
        problem = Problem(
            what=said[:1].lower() + said[1:],
            value=shlex.join(["tunesmith", *typed]),
            expected="a verb with its own options",
            hint=_usage_hint(verb, said) if meant is None else _retyped(typed, *meant),
        )
        _print_problem(out, problem, "error", typed)
        return 1
    if not isinstance(error, TunesmithError):
        return None
    label = "blocked" if isinstance(error, BlockedError) else "error"
    for number, problem in enumerate(error.problems):
        if number:
            out.print()
        _print_problem(out, problem, label, typed)
    return error.exit_code


def _suggestion(said: str) -> tuple[str, tuple[str, str] | None]:
    """What was said without its question, and the (wrong, right) word of it if one of the suggestions is near enough."""
    found = re.search(r"^(.*?)(['’]?)([\w-]+)\2\.? \(?(?:Did you mean|Possible options?:?) (.+?)\??\)?$", said)
    if found is None:
        return said, None
    before, quote, wrong, offered = found.groups()
    near = difflib.get_close_matches(wrong, re.findall(r"[\w-]+", offered), n=1, cutoff=0.5)
    return f"{before}{quote}{wrong}{quote}", (wrong, near[0]) if near else None


def _retyped(typed: Sequence[str], wrong: str, right: str) -> str:
    return shlex.join(["tunesmith", *(right if word == wrong else word for word in typed)])


def _usage_hint(verb: str, said: str) -> str:
    """Suggest `--source` for sources named without it, the most common mistake; otherwise the help of the verb."""
    extra = re.search(r"unexpected extra argument\S* \((.+)\)", said)
    if extra and verb in {"run", "build", "plan", "train", "merge", "init"}:
        return shlex.join(["tunesmith", verb, *(word for source in extra[1].split() for word in ("--source", source))])
    return " ".join(["tunesmith", *([verb] if verb else []), "--help"])


def _print_problem(out: Console, problem: Problem, label: str, typed: Sequence[str]) -> None:
    first, *rest, hint = replace(problem, hint=_corrected(problem, typed) or problem.hint).lines()
    width = len(label) + 2
    out.print(Text.assemble((f"{label:<{width}}", "bold red"), first))
    for line in rest:
        out.print(Text(" " * width + line))
    out.print(Text.assemble((f"{'hint:':<{width}}", "bold cyan"), hint.removeprefix("hint: ")))


def _corrected(problem: Problem, typed: Sequence[str]) -> str:
    """The typed command with the wrong value replaced by the right one; empty if no replacement is known."""
    if not problem.instead or problem.value not in typed:
        return ""
    return shlex.join(["tunesmith", *(problem.instead if word == problem.value else word for word in typed)])


class ConsoleReporter:
    """Draws stages as numbered lines and long work as a bar (or as a line now and then, without a terminal)."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._number = 0

    def greeting(self, cores: int, free_gib: float) -> None:
        """The first line: what runs, and on what."""
        self._out.print(f"\n  Tunesmith {__version__} · {cores} cores · {free_gib:.1f} GiB free\n")

    def stage(self, name: str, text: str, note: str = "") -> None:
        """One numbered line per stage: its name, its result, and a note on the right."""
        self._number += 1
        self._out.print(
            Text.assemble(
                "  ",
                (f"{self._number} ", "dim"),
                (f"{name:<{_WIDTH - 2}}", "bold"),
                text,
                ("   " + note if note else "", "dim"),
            )
        )

    def heading(self, where: str, name: str, text: str) -> None:
        """A line above what follows."""
        self._out.print(Text.assemble("\n  ", (f"{where:<{_WIDTH}}", "bold"), (name, "bold cyan"), f"  {text}"))

    def detail(self, text: str) -> None:
        """A further line under the current stage."""
        self._out.print(Text("  " + " " * _WIDTH + text))

    def event(self, event: Event) -> None:
        """Print the result of a stage, the plan or the verdict; of a chain, which stage follows."""
        if isinstance(event, StageDone | PlanMade):
            if event.text:
                self.stage(event.title, event.text, getattr(event, "note", ""))
            for line in event.lines:
                (self.warn if line.kind == "warning" else self.detail)(line.text)
        elif isinstance(event, ChainStageBegan):
            self.heading(f"stage {event.number} of {event.total}" if event.number else "the chain", event.name, event.text)
        elif isinstance(event, VerdictReached):
            self.verdict(event.verdict, event.sentence)
            for text in event.notes:
                self.aside(text)

    def note(self, text: str) -> None:
        """Information before the work begins."""
        self.detail(text)

    def warn(self, text: str) -> None:
        """A warning: something the user may want to change."""
        self._out.print(Text.assemble("  " + " " * _WIDTH, ("! ", "yellow"), text))

    def verdict(self, verdict: str, sentence: str) -> None:
        """The verdict, as a word and a colour."""
        style = {"SHIP": "bold green", "DON'T SHIP": "bold red"}.get(verdict, "bold yellow")
        self._out.print(Text.assemble("\n  ", (f"{verdict:<{_WIDTH}}", style), sentence))

    def aside(self, text: str) -> None:
        """A line under the verdict."""
        self._out.print(Text("  " + " " * _WIDTH + text, style="dim"))

    def end(self, lines: dict[str, str]) -> None:
        """What to open and to type next."""
        self._out.print()
        for name, text in lines.items():
            self._out.print(Text.assemble("  ", (f"{name:<{_WIDTH}}", "bold"), text))

    def progress(self, name: str, *, total: float, unit: str, done: float = 0) -> _Bar | _Lines:
        """A bar on a terminal, lines elsewhere."""
        pace = _Pace(name, total, unit, done)
        return _Bar(self._out, pace) if self._out.is_terminal else _Lines(self._out, pace)


class _Pace:
    """The progress of a piece of work, and its speed since it was started here."""

    def __init__(self, name: str, total: float, unit: str, done: float) -> None:
        self.name, self.total, self.unit, self.done = name, total, unit, done
        self._before, self._begin = done, time.monotonic()

    def rate(self) -> float:
        """Units per second."""
        return (self.done - self._before) / max(1e-3, time.monotonic() - self._begin)


class _Bar:
    """A bar with rate and time left. It disappears when the work is done, because the stage prints its own line."""

    def __init__(self, out: Console, pace: _Pace) -> None:
        self._pace = pace
        self._bar = Bar(
            TextColumn(f"    {pace.name:<{_WIDTH - 2}}", style="bold", markup=False),
            BarColumn(28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} {task.fields[left]} {task.fields[text]}", markup=False),
            console=out,
            transient=True,
        )
        self._task = self._bar.add_task(pace.name, total=pace.total, completed=int(pace.done), text="", rate="", left="")

    def advance(self, amount: float = 1, text: str | None = None) -> None:
        self._pace.done += amount
        rate = self._pace.rate()
        left = _duration((self._pace.total - self._pace.done) / rate) + " left " if rate else ""
        shown = self._bar.tasks[0].fields["text"] if text is None else text
        self._bar.update(self._task, advance=amount, rate=f"{self._pace.unit}, {rate:.1f}/s", left=left, text=shown)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()


class _Lines:
    """Progress for logs: a plain line every few seconds."""

    def __init__(self, out: Console, pace: _Pace) -> None:
        self._out, self._pace, self._last = out, pace, time.monotonic()

    def advance(self, amount: float = 1, text: str | None = None) -> None:
        self._pace.done += amount
        now, p = time.monotonic(), self._pace
        if now - self._last >= _QUIET_S and (rate := p.rate()):
            self._last = now
            count = f"{p.done:.0f}/{p.total:.0f} {p.unit}"
            left = _duration((p.total - p.done) / rate)
            self._out.print(f"    {p.name:<{_WIDTH - 3}} {count}  {rate:.1f}/s  {left} left  {text or ''}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass


def _duration(seconds: float) -> str:
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s" if seconds >= 60 else f"{seconds:.0f} s"


class SideBySide:
    """Answers streamed side by side on a terminal; without a terminal, one complete answer after the other."""

    def __init__(self, names: list[str]) -> None:
        self._said = dict.fromkeys(names, "")
        self._out = Console(highlight=False, markup=False, emoji=False)
        self._live = Live(self._drawn(), console=self._out, refresh_per_second=12) if self._out.is_terminal else None

    def _drawn(self) -> Table:
        grid = Table.grid(expand=True, padding=(0, 1))
        for _ in self._said:
            grid.add_column(ratio=1)
        grid.add_row(
            *(Panel(Text(text or "…"), title=name, title_align="left", border_style="dim") for name, text in self._said.items())
        )
        return grid

    def add(self, name: str, piece: str) -> None:
        """A further piece of one answer."""
        self._said[name] += piece
        if self._live is not None:
            self._live.update(self._drawn())

    def done(self, name: str) -> None:
        """This answer is complete."""
        if self._live is None:
            self._out.print(f"{name}: {self._said[name]}", soft_wrap=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
