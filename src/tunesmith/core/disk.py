"""The few operations of the commit protocol, one method each, so that a test can record, refuse or lose any.

The order of the calls is the protocol; it is in `core/files.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["DISK", "Disk"]


class Disk:
    """The real disk. Until `sync`, what was written may be kept, lost or torn by a power cut."""

    def make_folder(self, path: Path) -> None:
        """Make one folder, whose parent must exist."""
        path.mkdir()

    def write(self, path: Path, data: bytes) -> None:
        """Make or replace a file with `data`."""
        with path.open("wb", buffering=0) as file:
            _write_all(file.fileno(), data)

    def append(self, path: Path, data: bytes) -> None:
        """Add `data` at the end of a file."""
        with path.open("ab", buffering=0) as file:
            _write_all(file.fileno(), data)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to its first `size` bytes."""
        os.truncate(path, size)

    def sync(self, path: Path) -> None:
        """Make a file's content, or the names in a folder, survive a power cut."""
        if sys.platform == "win32":
            if path.is_dir():
                return  # Windows opens no folder; NTFS keeps names in its own journal
            flags = os.O_RDWR  # and it flushes only what is open for writing
        else:
            flags = os.O_RDONLY
        descriptor = os.open(path, flags)
        try:
            _flush(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file or folder another name in the same folder; a file of that name is replaced in one piece."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()


def _flush(descriptor: int) -> None:
    if sys.platform == "darwin":
        import fcntl  # POSIX only

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # on macOS a plain fsync stops at the drive's own cache
    else:
        os.fsync(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:  # the system may take a part only, when the disk is nearly full
        left = left[os.write(descriptor, left) :]


DISK = Disk()
