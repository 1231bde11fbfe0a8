"""Eight-bit integer weights by torchao: half of 16 bits, no calibration, opened by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.torchao_weights import write_torchao

__all__ = ["FORMAT"]


def _settings() -> Any:
    from torchao.quantization import Int8WeightOnlyConfig

    return Int8WeightOnlyConfig()


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    return write_torchao(source, folder, _settings)


FORMAT = Format(
    name="int8",
    title="int8 weights (torchao)",
    order=40,
    engine="transformers",
    package="torchao",
    write=_write,
    run_with=("transformers serve --force-model {path}", "vllm serve {path}"),
)
