"""Eight-bit integer weights by torchao: half of 16 bits, no calibration, opened by transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith.core.errors import EngineError
from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.quantised_folder import needed, open_quantised
from tunesmith.ship.torchao_weights import PIP, write_torchao
from tunesmith.systems.system import System

__all__ = ["FORMAT"]


def _settings() -> Any:
    from torchao.quantization import Int8WeightOnlyConfig

    return Int8WeightOnlyConfig()


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    return write_torchao(source, folder, _settings)


@contextmanager
def _open(source: ExportSource, path: Path, quant: str) -> Iterator[System]:
    needed("torchao", what="opening this format", install=PIP, error=EngineError)
    with open_quantised(source, path, label="int8 weights in transformers") as system:
        yield system


FORMAT = Format(
    name="int8",
    title="int8 weights (torchao)",
    order=40,
    engine="transformers",
    package="torchao",
    write=_write,
    open=_open,
    comparable=False,
    run_with=("transformers serve --force-model {path}", "vllm serve {path}"),
)
