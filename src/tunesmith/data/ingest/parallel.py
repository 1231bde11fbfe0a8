"""Many files read by several processes, and their readings in the order of the files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO

from tunesmith.data.ingest import worker
from tunesmith.data.ingest.item import RawItem, Reading
from tunesmith.data.ingest.policy import Policy
from tunesmith.data.text.decode import PassingError, UnreadableError

__all__ = ["read_in_order"]

_AHEAD = 16  # files that a reader has before it, small enough for the pipe to hold their names


def read_in_order(
    items: Sequence[RawItem], *, policy: Policy, workers: int
) -> Iterator[tuple[RawItem, Reading | UnreadableError]]:
    """What each file on disk holds, or why it cannot be read, in the order given; a file goes to reader `number % workers`.

    A file at which a reader dies is unreadable, and another reader takes the rest.
    """
    readers = [_Reader(items[number::workers], policy) for number in range(workers)]
    try:
        for number, item in enumerate(items):
            yield item, readers[number % workers].next()
    finally:
        for reader in readers:
            reader.close()


class _Reader:
    """One process and the files that it has to read."""

    def __init__(self, items: Sequence[RawItem], policy: Policy) -> None:
        self._left = deque(items)
        self._asked: deque[RawItem] = deque()
        self._policy = policy
        self._process = _start() if items else None

    def next(self) -> Reading | UnreadableError:
        """The answer for the next file."""
        if self._process is None:
            raise AssertionError("a reader without files is not asked")
        self._ask()
        line = _pipe(self._process.stdout).readline()
        self._asked.popleft()
        if line.endswith(b"\n"):
            return worker.reading_of(line)
        self.close()
        self._process = _start()
        self._left.extendleft(reversed(self._asked))
        self._asked.clear()
        return PassingError("the reader stopped at it")

    def _ask(self) -> None:
        pipe = _pipe(self._process.stdin if self._process else None)
        try:
            while self._left and len(self._asked) < _AHEAD:
                pipe.write(worker.asked(self._left[0], self._policy))
                self._asked.append(self._left.popleft())
            pipe.flush()
        except BrokenPipeError:
            if not self._asked:  # it died before it was asked anything: the file that is next pays for it
                self._asked.append(self._left.popleft())

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                try:
                    _pipe(pipe).close()
                except BrokenPipeError:
                    continue  # what was written last can no longer be read


def _start() -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-P", "-m", worker.__name__]  # -P: no module is taken from the folder we stand in
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise AssertionError("readers have pipes")
    return pipe
