"""How stages talk to people: a protocol, so that no stage knows of terminals. The CLI draws it; libraries stay silent."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

__all__ = ["Progress", "Reporter", "SilentReporter"]


class Progress(Protocol):
    """A running measure of one long piece of work; a context manager."""

    def advance(self, amount: float = 1, text: str | None = None) -> None:
        """Say that `amount` more units are done; `text` replaces what stands beside the bar."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Reporter(Protocol):
    """What a stage can tell a person while it works. What came out of it stands in its artifact."""

    def note(self, text: str) -> None:
        """Something the reader should know before the work begins."""

    def warn(self, text: str) -> None:
        """Something the reader should know and may want to change."""

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

    def progress(self, name: str, *, total: float, unit: str, done: float = 0) -> Progress:
        return _NoProgress()
