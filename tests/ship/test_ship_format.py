"""Formats are found by their files, and what cannot be written is refused by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tunesmith.core.errors import EvaluationError
from tunesmith.ship import formats
from tunesmith.ship.format import find_format, format_kinds

_TOY = """
from tunesmith.ship.format import Format, Written

def write(source, folder, quant):
    (folder / "toy.txt").write_text(quant)
    return Written(main="toy.txt")

FORMAT = Format(
    name="toy", title="toy", order=999, engine="none", write=write, quants=("q1", "q2")
)
"""


def test_a_format_is_added_by_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.py").write_text(_TOY)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    format_kinds.cache_clear()
    try:
        assert find_format("toy").checked_quant("") == "q1"
        assert [one.name for one in format_kinds()][-1] == "toy"
    finally:
        sys.modules.pop("tunesmith.ship.formats.toy")
        format_kinds.cache_clear()


def test_a_format_that_no_file_declares_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(EvaluationError) as caught:
        find_format("mergd")
    assert caught.value.problems[0].hint == "--to merged"


def test_a_quantisation_that_the_format_cannot_write_is_refused() -> None:
    with pytest.raises(EvaluationError, match="no such quantisation") as caught:
        find_format("merged").checked_quant("q4")
    assert "no choice" in caught.value.problems[0].expected
