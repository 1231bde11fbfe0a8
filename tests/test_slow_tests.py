"""The list of slow tests: what it takes in, and that it names no test that is gone."""

from __future__ import annotations

import re
from pathlib import Path

from slow_tests import Times, is_slow, read_list, slow_of_file

ROOT = Path(__file__).parents[1]


def test_a_slow_call_is_listed_and_a_file_whose_rest_is_slow_as_a_whole() -> None:
    times = Times()
    for case in ("a", "b"):
        times.add(f"tests/one.py::test_cases[{case}]", "call", 0.6)  # the cases of a function count together
    times.add("tests/one.py::test_quick", "call", 0.1)
    times.add("tests/two.py::test_uses_a_model", "setup", 9.0)
    times.add("tests/two.py::test_quick", "call", 0.1)
    assert times.slow() == ["tests/one.py::test_cases", "tests/two.py"]


def test_cases_and_files_of_the_list_are_slow() -> None:
    entries = {"tests/one.py::test_cases", "tests/two.py"}
    found = [is_slow(f"tests/{name}", entries) for name in ("one.py::test_cases[x]", "two.py::test_any", "one.py::test_quick")]
    assert found == [True, True, False]


def test_every_entry_is_a_test_that_exists() -> None:
    for entry in sorted(read_list()):
        file, *names = entry.split("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        for name in names:
            assert re.search(rf"(def|class) {name}\b", text), entry


def test_files_with_much_of_the_list_come_first() -> None:
    entries = ["a.py", "b.py::test_one", "b.py::test_two"]
    files = ["c.py::test_x", "b.py::test_y", "a.py::test_z"]
    assert sorted(files, key=lambda node: -slow_of_file(node, entries)) == files[::-1]
