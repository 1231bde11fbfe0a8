"""The formats of llm-compressor: folders of four-bit weights that transformers and vLLM open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.core.errors import EngineError
from tunesmith.ship.calibrated.write import Method, write_calibrated
from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.quantised_folder import needed, open_quantised
from tunesmith.systems.system import System

__all__ = ["calibrated_format"]

_INSTALL = "pip install 'tunesmith[compressed]'"


def calibrated_format(method: Method, *, label: str, order: int) -> Format:
    """The format of a method, declared once for all of them. `label`: its name for people."""

    def write(source: ExportSource, folder: Path, quant: str) -> Written:
        return write_calibrated(source, folder, method)

    @contextmanager
    def opened(source: ExportSource, path: Path, quant: str) -> Iterator[System]:
        needed("compressed_tensors", what="opening this format", install=_INSTALL, error=EngineError)
        with open_quantised(source, path, label=f"{label} in transformers") as system:
            yield system

    return Format(
        name=method,
        title=f"{label}, 4 bits (llm-compressor)",
        order=order,
        engine="transformers",
        package="compressed-tensors",
        write=write,
        open=opened,
        comparable=False,
        run_with=("vllm serve {path}",),
    )
