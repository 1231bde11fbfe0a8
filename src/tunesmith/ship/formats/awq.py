"""AWQ: four bits per weight, calibrated on training rows by llm-compressor, for vLLM and transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.core.errors import EngineError
from tunesmith.ship.calibrated.write import write_calibrated
from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.quantised_folder import needed, open_quantised
from tunesmith.systems.system import System

__all__ = ["FORMAT"]


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    return write_calibrated(source, folder, "awq")


@contextmanager
def _open(source: ExportSource, path: Path, quant: str) -> Iterator[System]:
    install = "pip install 'tunesmith[compressed]'"
    needed("compressed_tensors", what="opening this format", install=install, error=EngineError)
    with open_quantised(source, path, label="AWQ in transformers") as system:
        yield system


FORMAT = Format(
    name="awq",
    title="AWQ, 4 bits (llm-compressor)",
    order=50,
    engine="transformers",
    write=_write,
    open=_open,
    comparable=False,
    run_with=("vllm serve {path}",),
)
