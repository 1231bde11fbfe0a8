"""What was measured of a machine stays with the project: the same command is the same run, though clocks waver."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.api import machine
from tunesmith.api.machine import kept_precision
from tunesmith.models.precision import Precision

LAYER = {"width": 32, "inner": 64, "rank": 4}


def wavering(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each measurement falls on the other side of the line; gives those that are left."""
    left = ["bfloat16", "float32", "bfloat16"]
    monkeypatch.setattr(machine, "choose_precision", lambda *_, **__: Precision(left.pop(0), "measured", 1.0))  # type: ignore[arg-type]
    return left


def test_a_second_measurement_does_not_change_the_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, file = wavering(monkeypatch), tmp_path / ".tunesmith" / "precision.json"
    assert [kept_precision(file, **LAYER).name for _ in range(3)] == ["bfloat16"] * 3
    assert len(left) == 2


@pytest.mark.parametrize("other", ["machine", "layer"])
def test_another_machine_or_layer_is_measured_anew_and_both_are_kept(
    other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, file = wavering(monkeypatch), tmp_path / "precision.json"
    first = kept_precision(file, **LAYER)
    with monkeypatch.context() as patch:
        if other == "machine":
            patch.setattr(machine, "machine_facts", lambda: {"processor": "another"})
        assert kept_precision(file, **LAYER | ({"width": 48} if other == "layer" else {})).name == "float32"
    assert kept_precision(file, **LAYER) == first and len(left) == 1


@pytest.mark.parametrize("content", [b"torn", b"[1]", b'{"x": 3}'])
def test_a_damaged_file_is_made_anew(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, file = wavering(monkeypatch), tmp_path / "precision.json"
    file.write_bytes(content)
    assert kept_precision(file, **LAYER) == kept_precision(file, **LAYER)
    assert len(left) == 2
