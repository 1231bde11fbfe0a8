"""The files of a folder, of an archive, or one file alone, behind one face: names first, content only when asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable

__all__ = ["HEAD_BYTES", "Tree"]

HEAD_BYTES = 65_536


class Tree:
    """Names are POSIX paths below the root, sorted. `hidden`: names that begin with a dot, which are never read.

    `read(name, size)` gives the content, or its first `size` bytes if that is not None; UnreadableError says why it cannot.
    """

    def __init__(
        self, names: Iterable[str], read: Callable[[str, int | None], bytes], *, hidden: Collection[str] = frozenset()
    ) -> None:
        self.names = tuple(sorted(names))
        self.hidden = frozenset(hidden)
        self._known = frozenset(self.names)
        self._read = read

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def has_any(self, *names: str) -> bool:
        """Whether one of these files lies in it, shown or hidden."""
        return not (self._known.isdisjoint(names) and self.hidden.isdisjoint(names))

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return self._read(name, None)

    def head(self, name: str, size: int = HEAD_BYTES) -> bytes:
        """The beginning of a file, to recognise it by."""
        return self._read(name, size)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that lie in the root itself."""
        return tuple(name for name in self.names if "/" not in name)

    @property
    def folders(self) -> tuple[str, ...]:
        """Every folder with a file below it, the root (an empty name) first, a folder before those inside it."""
        found = {""}
        for name in self.names:
            parts = name.split("/")[:-1]
            found |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
        return tuple(sorted(found, key=lambda folder: (folder.count("/") if folder else -1, folder)))

    def has_folder(self, folder: str) -> bool:
        """Whether a file lies below this folder."""
        start = f"{folder}/"
        at = bisect_left(self.names, start)
        return at < len(self.names) and self.names[at].startswith(start)

    def below(self, folder: str) -> Tree:
        """The part of the tree that lies below a folder, with names relative to it."""
        if not folder:
            return self
        start = f"{folder}/"
        first, last = bisect_left(self.names, start), bisect_left(self.names, f"{folder}0")  # "0" follows "/"
        return Tree(
            (name[len(start) :] for name in self.names[first:last]),
            lambda name, size: self._read(start + name, size),
            hidden={name[len(start) :] for name in self.hidden if name.startswith(start)},
        )

    def only(self, names: Collection[str]) -> Tree:
        """The same tree with these names alone."""
        return Tree((name for name in self.names if name in names), self._read, hidden=self.hidden)
