"""A folder for mlx-lm: the merged model for Apple's engine, in 16 bits or in groups of 8 or 4 bits."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from tunesmith.core.errors import ModelError
from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.quantised_folder import complete, needed, written

__all__ = ["FORMAT"]

_TYPES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
_BITS = {"q8": 8, "q4": 4}
_INSTALL = "pip install 'tunesmith[mlx]'"
_GROUP = 64  # weights that share a scale: mlx-lm's own default


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    needed("mlx_lm", what="this format", install=_INSTALL)
    from mlx_lm import convert

    with TemporaryDirectory(dir=folder.parent) as place, redirect_stdout(io.StringIO()):  # it prints what it does
        made = Path(place) / "model"
        try:
            if quant in _BITS:
                convert(str(source.merged.path), str(made), quantize=True, q_bits=_BITS[quant], q_group_size=_GROUP)
            else:
                convert(str(source.merged.path), str(made), dtype=_TYPES[quant])
        except (ValueError, KeyError, RuntimeError) as error:
            raise ModelError(
                "mlx-lm cannot convert this model",
                value=source.name,
                expected=f"an architecture that it knows ({str(error).splitlines()[0][:200]})",
                hint="update mlx-lm, or choose another format",
            ) from error
        for file in made.iterdir():
            if file.is_file() and file.name != "README.md":
                file.replace(folder / file.name)
    complete(source, folder)
    return written(source, folder)


FORMAT = Format(
    name="mlx",
    title="MLX folder",
    order=60,
    engine="mlx-lm",
    package="mlx-lm",
    write=_write,
    quants=("bf16", "f16", "f32", "q8", "q4"),
    run_with=("mlx_lm.server --model {path}", "mlx_lm.chat --model {path}"),
)
