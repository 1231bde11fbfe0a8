"""GGUF: one file for llama.cpp and everything built on it, in any of its number types."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

from tunesmith.models.chat import Encoded
from tunesmith.models.memory import release_memory
from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.gguf.importance import write_importance
from tunesmith.ship.gguf.quants import QUANTS, QuantName
from tunesmith.ship.gguf.write import Facts, write_gguf

__all__ = ["FORMAT", "facts_of", "write_weighed"]

_DEFAULT: QuantName = "f16"
_TOKENS = 100_000  # of training rows that the importance matrix is made from, at most


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    chosen = cast("QuantName", quant)
    file = folder / f"{source.name}-{quant}.gguf"
    return write_weighed(source, file, chosen)


def write_weighed(source: ExportSource, file: Path, quant: QuantName) -> Written:
    """The merged model as the GGUF `file`; where weights are rounded in small blocks, weighed by the training rows."""
    with tempfile.TemporaryDirectory() as place:
        importance = None
        if not QUANTS[quant].is_uniform and source.rows:
            importance = Path(place) / "importance.gguf"
            write_importance(source.merged, _calibration(source.rows), importance, source="training rows of the author")
            release_memory()
        made = write_gguf(source.merged, file, quant=quant, facts=facts_of(source), importance=importance)
    return Written(
        main=file.name,
        numbers={
            "bits_per_weight": round(made.bits_per_weight, 3),
            "fallbacks": len(made.fallbacks),
            "weighed_by_training_rows": importance is not None,
        },
        notes=made.differences,
    )


def facts_of(source: ExportSource) -> Facts:
    """What the file says about itself: its name, and the base that it was made from."""
    address = source.base.address
    url = f"https://huggingface.co/{address}" if "/" in address and not address.startswith("/") else ""
    return Facts(name=source.name, bases=((Path(source.base.name).name, url),))


def _calibration(rows: Sequence[Encoded]) -> list[tuple[int, ...]]:
    kept, tokens = [], 0
    for row in rows:
        if tokens >= _TOKENS:
            break
        kept.append(row.ids)
        tokens += len(row.ids)
    return kept


FORMAT = Format(
    name="gguf",
    title="GGUF",
    order=20,
    engine="llama.cpp",
    quants=(_DEFAULT, *(name for name in get_args(QuantName) if name != _DEFAULT)),
    package="xllamacpp",
    write=_write,
    run_with=("llama-server -m {path}", "llama-cli -m {path}"),
)
