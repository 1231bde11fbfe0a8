"""What a program writes, as far as it is worth keeping: its end, however long the program runs."""

from __future__ import annotations

import os
from threading import Lock, Thread
from typing import IO

__all__ = ["MOST_BYTES", "LogTail"]

MOST_BYTES = 2**20
"""Of a program's output that are kept."""
_READ_BYTES = 2**16


class LogTail:
    """Reads a pipe in a thread until it ends, and closes it. At most twice `most_bytes` are in memory."""

    def __init__(self, pipe: IO[bytes], *, most_bytes: int = MOST_BYTES) -> None:
        self._pipe, self._most = pipe, most_bytes
        self._kept, self._lock = bytearray(), Lock()
        self._thread = Thread(target=self._read, name="tunesmith-log", daemon=True)
        self._thread.start()

    @property
    def size_bytes(self) -> int:
        """What is in memory."""
        return len(self._kept)

    def text(self) -> str:
        """What was written so far, or the end of it."""
        with self._lock:
            return self._kept.decode("utf-8", errors="replace")

    def wait(self, timeout_s: float) -> None:
        """Until the pipe ends; a process that lives on may hold it open."""
        self._thread.join(timeout_s)

    def _read(self) -> None:
        with self._pipe as pipe:
            while piece := os.read(pipe.fileno(), _READ_BYTES):
                with self._lock:
                    self._kept += piece
                    if len(self._kept) > 2 * self._most - _READ_BYTES:
                        del self._kept[: -self._most]
