"""Four-bit integer weights by torchao. Its kernels need the package mslk, which exists for NVIDIA GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith.core.errors import EngineError, ModelError
from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.quantised_folder import needed, open_quantised
from tunesmith.ship.torchao_weights import PIP, write_torchao
from tunesmith.systems.system import System

__all__ = ["FORMAT"]

_KERNELS = "pip install mslk (on a machine with an NVIDIA GPU), or choose --to gptq, --to awq or --to gguf --quant q4_k_m"


def _settings() -> Any:
    from torchao.quantization import Int4WeightOnlyConfig

    return Int4WeightOnlyConfig(group_size=32)


def _check(error: type[ModelError | EngineError]) -> None:
    needed("torchao", what="this format", install=PIP, error=error)
    needed("mslk", what="torchao's int4 format", install=_KERNELS, error=error)


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    _check(ModelError)
    return write_torchao(source, folder, _settings)


@contextmanager
def _open(source: ExportSource, path: Path, quant: str) -> Iterator[System]:
    _check(EngineError)
    with open_quantised(source, path, label="int4 weights in transformers") as system:
        yield system


FORMAT = Format(
    name="int4",
    title="int4 weights (torchao)",
    order=45,
    engine="transformers",
    package="torchao",
    write=_write,
    open=_open,
    comparable=False,
    run_with=("vllm serve {path}",),
)
