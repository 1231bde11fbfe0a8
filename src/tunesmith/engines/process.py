"""A server in a process of its own: started, waited for, and killed with its children, whatever happens in between."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import NoReturn, TypeVar

import psutil

from tunesmith.core.errors import EngineError
from tunesmith.engines.log_tail import LogTail

__all__ = ["ServerProcess", "free_port", "needs_free_port", "peak_memory"]

_T = TypeVar("_T")
_POLL_S = 0.05
_STOP_S = 10.0
_LAST_WORDS_S = 1.0  # for the last words of a process that has ended, which one that it started may go on with
_TAIL_BYTES = 6000
_TAIL_LINES = 12


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def needs_free_port(port: int, engine: str) -> None:
    """EngineError if another program listens on this loopback port."""
    with socket.socket() as probe:
        if os.name == "posix":  # a port that was just given back is free; on Windows the option would share it
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise EngineError(
                f"{engine} cannot listen on this port: {error.strerror or error}",
                value=port,
                expected="a free port on 127.0.0.1",
                hint="leave the port out to get a free one, or stop the program that uses it",
            ) from error


class ServerProcess:
    """One process. Its standard input stays open as long as we live; its output is read, and errors show the end of it.
    It is killed with its children by `stop`, and at exit; a Ctrl-C in the terminal does not reach it. `piped`: its standard
    output is ours to read, by `ask`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        engine: str,
        hint: str,
        environment: Mapping[str, str] | None = None,
        piped: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine = engine
        self._hint = hint
        self._clock = clock
        self._peak = 0
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if piped else subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(
                f"{engine} cannot be started: {error.strerror or error}",
                value=command[0],
                expected="a program that runs",
                hint=hint,
            ) from error
        written = self._process.stderr if piped else self._process.stdout
        assert written is not None
        self._log = LogTail(written)
        self._pipes = (self._process.stdin, self._process.stdout if piped else None)
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    def log(self) -> str:
        """What the server wrote so far; of much only the end is kept."""
        if self._process.poll() is not None:
            self._log.wait(_LAST_WORDS_S)
        return self._log.text()

    def tail(self) -> str:
        """The last lines of the log, also once it was stopped."""
        return "\n".join(self.log()[-_TAIL_BYTES:].splitlines()[-_TAIL_LINES:])

    def check_alive(self, *, patience_s: float = 0.0) -> None:
        """EngineError with the end of the log if the process ended, or ends within `patience_s`."""
        try:
            code = self._process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            return
        tail = self.tail()
        self.stop()
        raise EngineError(
            f"{self.engine} ended; the end of its log:\n{tail}\nits exit code",
            value=code,
            expected="a server that runs until it is stopped",
            hint=self._hint,
        )

    def wait_for(self, found: Callable[[], _T | None], *, what: str, timeout_s: float, given_up: Event | None = None) -> _T:
        """What `found` returns as soon as that is not None. EngineError if the process ends before, time runs out or `given_up`
        is set."""
        deadline = self._clock() + timeout_s
        while True:
            result = found()
            if result is not None:
                return result
            self.check_alive(patience_s=_POLL_S)
            if given_up is not None and given_up.is_set():
                self.stop()
                raise EngineError(
                    f"the start of {self.engine} was given up", value=what, expected="time for it", hint="start it again"
                )
            if self._clock() >= deadline:
                tail = self.tail()
                self.stop()
                raise EngineError(
                    f"{self.engine} was stopped, because {what} took too long; the end of its log:\n{tail}\nits time",
                    value=f"{timeout_s:g} s",
                    expected=f"{what} within that time",
                    hint="give it more time with a larger timeout, or close other programs",
                )

    def write_line(self, line: bytes) -> None:
        """Send a line to its standard input. EngineError if it does not read any more."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except OSError:
            self._broken()

    def read_line(self) -> bytes:
        """The next line of a piped output, without its end."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            self._broken()
        return line[:-1]

    def read_bytes(self, count: int) -> bytes:
        """Exactly so many bytes of a piped output."""
        assert self._process.stdout is not None
        content = self._process.stdout.read(count)
        if len(content) != count:
            self._broken()
        return content

    def _broken(self) -> NoReturn:
        self.check_alive(patience_s=_STOP_S)
        self.stop()
        raise EngineError(
            f"{self.engine} closed its output", value=self._process.pid, expected="a whole answer", hint=self._hint
        )

    def peak_memory_bytes(self) -> int:
        """Largest resident memory of the process and its children, as far as the system keeps it; mapped files count."""
        total = 0
        for process in self._family():
            try:
                total += peak_memory(process)
            except psutil.Error:  # ended in this moment: what it took is in the last figure
                continue
        self._peak = max(self._peak, total)
        return self._peak

    def stop(self) -> None:
        """Kill the process and its children, and wait for their end."""
        atexit.unregister(self.stop)
        family = self._family()
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        for pipe in self._pipes:
            if pipe is not None:
                with suppress(OSError):  # bytes that a dead process never read
                    pipe.close()
        psutil.wait_procs(family, timeout=_STOP_S)
        self._process.wait(timeout=_STOP_S)
        self._log.wait(_LAST_WORDS_S)

    def _family(self) -> list[psutil.Process]:
        """Those of the process and of all that it started which run, also where it has ended itself."""
        found: set[psutil.Process] = set()
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self._process.pid)
            found |= {first, *first.children(recursive=True)}
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                if _session_of(process.pid) == self._process.pid:
                    found.add(process)
        return list(found)


def _session_of(pid: int) -> int:
    """The process that leads the session of a process. The id of one that has ended is not given out while others are in it."""
    return os.getsid(pid) if hasattr(os, "getsid") else 0


def peak_memory(process: psutil.Process) -> int:
    """The most memory in bytes that the process has had since it began, where the system says so; else what it has now."""
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    memory = process.memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))
