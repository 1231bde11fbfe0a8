"""The formats of llm-compressor: folders of four-bit weights that transformers and vLLM open."""

from __future__ import annotations

from pathlib import Path

from tunesmith.ship.calibrated.write import Method, write_calibrated
from tunesmith.ship.format import ExportSource, Format, Written

__all__ = ["calibrated_format"]


def calibrated_format(method: Method, *, label: str, order: int) -> Format:
    """The format of a method, declared once for all of them. `label`: its name for people."""

    def write(source: ExportSource, folder: Path, quant: str) -> Written:
        return write_calibrated(source, folder, method)

    return Format(
        name=method,
        title=f"{label}, 4 bits (llm-compressor)",
        order=order,
        engine="transformers",
        package="compressed-tensors",
        write=write,
        run_with=("vllm serve {path}",),
    )
