"""The adapter alone in the files of mlx-lm, to be used with the base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.models.memory import release_memory
from tunesmith.models.mlx_adapter import write_mlx_adapter
from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.mlx.system import open_mlx
from tunesmith.systems.system import System

__all__ = ["FORMAT"]


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    config = source.base.config.get("text_config") or source.base.config
    write_mlx_adapter(source.adapter_alone(), folder, num_layers=int(config["num_hidden_layers"]), base=source.base.address)
    return Written(numbers={"bytes": sum(file.stat().st_size for file in folder.iterdir())})


@contextmanager
def _open(source: ExportSource, path: Path, quant: str) -> Iterator[System]:
    yield open_mlx(source.base.path, source.chat, context=source.base.context, label="MLX, base + adapter", adapter=path)
    release_memory()


FORMAT = Format(
    name="mlx_lora",
    title="MLX adapter",
    order=65,
    engine="mlx-lm",
    package="mlx-lm",
    write=_write,
    open=_open,
    comparable=False,
    run_with=("mlx_lm.server --model BASE --adapter-path {path}",),
)
