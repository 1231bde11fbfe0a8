"""The adapter alone in the files of mlx-lm, to be used with the base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.models.mlx_adapter import write_mlx_adapter
from tunesmith.ship.format import ExportSource, Format, Written

__all__ = ["FORMAT"]


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    config = source.base.config.get("text_config") or source.base.config
    write_mlx_adapter(source.adapter_alone(), folder, num_layers=int(config["num_hidden_layers"]), base=source.base.address)
    return Written(numbers={"bytes": sum(file.stat().st_size for file in folder.iterdir())})


@contextmanager
def _on_base(source: ExportSource, path: Path) -> Iterator[str]:
    yield f"{source.base.path}+{path}"


FORMAT = Format(
    name="mlx_lora",
    title="MLX adapter",
    order=65,
    engine="mlx-lm",
    package="mlx-lm",
    write=_write,
    reference=_on_base,
    run_with=("mlx_lm.server --model BASE --adapter-path {path}",),
)
