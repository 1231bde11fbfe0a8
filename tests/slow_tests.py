"""Which tests are slow: a list that a whole run writes, so that `pytest -m "not slow"` stays a matter of minutes.

`slow_tests.txt` names files, and single tests of other files. A test is slow if its call takes a second; a file is, if what
is left of it, fixtures included, takes some seconds. `pytest --write-slow` measures every test of the run and writes the list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

__all__ = ["LIST", "Times", "is_slow", "read_list", "slow_of_file"]

LIST = Path(__file__).with_name("slow_tests.txt")
_TEST_S, _FILE_S = 1.0, 6.0
_WHOLE = 1000


def _function_of(node: str) -> str:
    """The id of a test function, of all its cases together."""
    return node.partition("[")[0]


def read_list() -> frozenset[str]:
    """Files and tests that are slow."""
    return frozenset(LIST.read_text(encoding="utf-8").split()) if LIST.exists() else frozenset()


class Times:
    """Seconds of every test function: of its calls, and of its fixtures' work before and after."""

    def __init__(self) -> None:
        self.calls: dict[str, float] = defaultdict(float)
        self.others: dict[str, float] = defaultdict(float)

    def add(self, node: str, when: str, seconds: float) -> None:
        """One phase of one test."""
        (self.calls if when == "call" else self.others)[_function_of(node)] += seconds

    def slow(self) -> list[str]:
        """The entries of the list, sorted."""
        tests = {node for node, seconds in self.calls.items() if seconds >= _TEST_S}
        left: dict[str, float] = defaultdict(float)
        for found in (self.others, {node: s for node, s in self.calls.items() if node not in tests}):
            for node, seconds in found.items():
                left[_file_of(node)] += seconds
        files = {file for file, seconds in left.items() if seconds >= _FILE_S}
        return sorted(files | {node for node in tests if _file_of(node) not in files})

    def write(self) -> None:
        """Replace the list."""
        LIST.write_text("".join(f"{entry}\n" for entry in self.slow()), encoding="utf-8")


def is_slow(node: str, entries: Iterable[str]) -> bool:
    """Whether a test or its file is in the list."""
    return _function_of(node) in entries or _file_of(node) in entries


def slow_of_file(node: str, entries: Iterable[str]) -> int:
    """How much of the list is in the file of a test; more than any count for a file that is slow as a whole."""
    file = _file_of(node)
    return sum(_WHOLE if entry == file else _file_of(entry) == file for entry in entries)


def _file_of(node: str) -> str:
    return node.partition("::")[0]
