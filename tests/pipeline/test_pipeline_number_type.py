"""What was measured of a machine stays with the project: the same command is the same run, though clocks waver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.models.precision import Precision
from tunesmith.pipeline import number_type
from tunesmith.pipeline.number_type import kept_precision

LAYER = {"width": 32, "inner": 64, "rank": 4}


def wavering(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each measurement falls on the other side of the line; gives those that are left."""
    left = ["bfloat16", "float32", "bfloat16"]

    def measure(wanted: Any, *, because: str = "", **_: int) -> Precision:
        fallen: Any = left.pop(0)
        return Precision(wanted or fallen, because if wanted else "measured", 1.0 if fallen == "bfloat16" else 2.0, 2.0)

    monkeypatch.setattr(number_type, "choose_precision", measure)
    return left


def test_a_second_measurement_does_not_change_the_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, file = wavering(monkeypatch), tmp_path / ".tunesmith" / "precision.json"
    assert [kept_precision(file, **LAYER).name for _ in range(3)] == ["bfloat16"] * 3
    assert len(left) == 2


def test_another_layer_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, file = wavering(monkeypatch), tmp_path / "precision.json"
    first = kept_precision(file, **LAYER)
    assert kept_precision(file, **LAYER | {"width": 48}).name == "float32"
    assert kept_precision(file, **LAYER) == first and len(left) == 1


def test_on_another_machine_the_type_stays_and_its_speed_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished run is found again wherever the project is taken, and the plan names the type that the run uses."""
    left, file = wavering(monkeypatch), tmp_path / "precision.json"
    first = kept_precision(file, **LAYER)
    monkeypatch.setattr(number_type, "machine_facts", lambda: {"processor": "another"})
    there = kept_precision(file, **LAYER)
    assert (there.name, there.reason, there.layer_tokens_per_s) == ("bfloat16", "as this project began", 2.0)
    assert first.name == "bfloat16" and kept_precision(file, **LAYER) == there and len(left) == 1


@pytest.mark.parametrize("content", [b"torn", b"[1]", b'{"x": 3}', b'{"types": 3, "measured": {"a": 1}}', b"\xff"])
def test_a_damaged_file_is_made_anew(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, file = wavering(monkeypatch), tmp_path / "precision.json"
    file.write_bytes(content)
    assert kept_precision(file, **LAYER) == kept_precision(file, **LAYER)
    assert len(left) == 2
