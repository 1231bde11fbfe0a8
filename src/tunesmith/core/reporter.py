"""How stages report: events, notes and progress. A terminal, a program or a page can subscribe; by default none does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self

__all__ = [
    "ChainStageBegan",
    "Event",
    "FindingReported",
    "Line",
    "PlanMade",
    "Progress",
    "Reporter",
    "SeveralReporters",
    "SilentReporter",
    "StageBegan",
    "StageDone",
    "VerdictReached",
]


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a stage says of its result."""

    text: str
    kind: Literal["detail", "warning"] = "detail"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStageBegan:
    """What follows is about the stage `name` of a chain, the `number`-th of `total`; 0: about the whole chain. `text`: what is
    about to be done."""

    name: str
    number: int
    total: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageBegan:
    """A stage is about to be made or found; those that it needs are done."""

    kind: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDone:
    """The artifact of a stage is there. `numbers`: its facts for programs; `text`, `note` and `lines`: the same for people."""

    kind: str
    title: str
    id: str
    path: str
    numbers: Mapping[str, Any]
    text: str
    note: str = ""
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMade:
    """What is about to be done, before it is: every derived number (`numbers`), and the main ones in words."""

    title: str
    numbers: Mapping[str, Any]
    text: str
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingReported:
    """A check found something in the rows of the dataset."""

    name: str
    severity: Literal["error", "warning", "info"]
    message: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictReached:
    """The answer. `notes`: gates that did not pass, and what was not measured."""

    verdict: str
    sentence: str
    notes: tuple[str, ...]
    report: str
    comparison: Mapping[str, Any]


Event = ChainStageBegan | StageBegan | StageDone | PlanMade | FindingReported | VerdictReached


class Progress(Protocol):
    """A running measure of one long piece of work; a context manager."""

    def advance(self, amount: float = 1, text: str | None = None) -> None:
        """Report `amount` more finished units; `text` replaces the text next to the bar."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Reporter(Protocol):
    """What a stage reports while it works: to the terminal, to a program, to a page. What came out of it is in its artifact."""

    def note(self, text: str) -> None:
        """Something the reader should know before the work begins."""

    def warn(self, text: str) -> None:
        """Something the reader should know and may want to change."""

    def event(self, event: Event) -> None:
        """Something happened that a program may want to follow as well as a person."""

    def progress(self, name: str, *, total: float, unit: str, done: float = 0) -> Progress:
        """Begin a measured piece of work of `total` `unit`s, `done` of which were done before."""


class _NoProgress:
    def advance(self, amount: float = 1, text: str | None = None) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass


class SilentReporter:
    """Says nothing: the default of every library function."""

    def note(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    def event(self, event: Event) -> None:
        pass

    def progress(self, name: str, *, total: float, unit: str, done: float = 0) -> Progress:
        return _NoProgress()


class _SeveralProgresses:
    def __init__(self, parts: Sequence[Progress]) -> None:
        self._parts = parts

    def advance(self, amount: float = 1, text: str | None = None) -> None:
        for part in self._parts:
            part.advance(amount, text)

    def __enter__(self) -> Self:
        for part in self._parts:
            part.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for part in self._parts:
            part.__exit__(kind, error, trace)


class SeveralReporters:
    """Gives everything to several reporters, in order: a terminal and a log of events, say."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def note(self, text: str) -> None:
        """To all of them."""
        for reporter in self._reporters:
            reporter.note(text)

    def warn(self, text: str) -> None:
        """To all of them."""
        for reporter in self._reporters:
            reporter.warn(text)

    def event(self, event: Event) -> None:
        """To all of them."""
        for reporter in self._reporters:
            reporter.event(event)

    def progress(self, name: str, *, total: float, unit: str, done: float = 0) -> Progress:
        """One measure that moves all of theirs."""
        return _SeveralProgresses([r.progress(name, total=total, unit=unit, done=done) for r in self._reporters])
