"""Four-bit integer weights by torchao. Its kernels need the package mslk, which exists for NVIDIA GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.quantised_folder import needed
from tunesmith.ship.torchao_weights import PIP, write_torchao

__all__ = ["FORMAT"]

_KERNELS = "pip install mslk (on a machine with an NVIDIA GPU), or choose --to gptq, --to awq or --to gguf --quant q4_k_m"


def _settings() -> Any:
    from torchao.quantization import Int4WeightOnlyConfig

    return Int4WeightOnlyConfig(group_size=32)


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    needed("torchao", what="this format", install=PIP)
    needed("mslk", what="torchao's int4 format", install=_KERNELS)
    return write_torchao(source, folder, _settings)


FORMAT = Format(
    name="int4",
    title="int4 weights (torchao)",
    order=45,
    engine="transformers",
    package="torchao",
    write=_write,
    run_with=("vllm serve {path}",),
)
