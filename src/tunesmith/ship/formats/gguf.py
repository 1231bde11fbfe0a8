"""GGUF: one file for llama.cpp and everything built on it, in any of its number types."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast, get_args

from tunesmith.engines.llama_cpp import LlamaCpp, LoraFile
from tunesmith.models.chat import Encoded
from tunesmith.models.memory import release_memory
from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.gguf.importance import write_importance
from tunesmith.ship.gguf.quants import QUANTS, QuantName
from tunesmith.ship.gguf.write import Facts, write_gguf
from tunesmith.systems.engine_system import engine_system
from tunesmith.systems.system import System

__all__ = ["FORMAT", "facts_of", "opened_in_llama_cpp", "write_weighed"]

_DEFAULT: QuantName = "f16"
_SLOTS = 4  # requests at once
_CONTEXT = 4096  # tokens of a request at most: what a laptop holds for several requests
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


@contextmanager
def opened_in_llama_cpp(source: ExportSource, file: Path, *, adapter: Path | None = None) -> Iterator[System]:
    """The file in a llama.cpp server of its own, with a GGUF adapter if one is given, for the length of the block.
    EngineError where that cannot be."""
    context = min(source.base.context, _CONTEXT)
    adapters = {} if adapter is None else {source.name: LoraFile(adapter)}
    label = f"{file.name} in llama.cpp" if adapter is None else f"{file.name} + {adapter.name} in llama.cpp"
    with LlamaCpp(file, context=context, slots=_SLOTS, adapters=adapters) as engine:
        yield engine_system(engine, source.chat, name="tuned", label=label, context=context)


@contextmanager
def _open(source: ExportSource, path: Path, quant: str) -> Iterator[System]:
    with opened_in_llama_cpp(source, path) as system:
        yield system


FORMAT = Format(
    name="gguf",
    title="GGUF",
    order=20,
    engine="llama.cpp",
    quants=(_DEFAULT, *(name for name in get_args(QuantName) if name != _DEFAULT)),
    package="xllamacpp",
    write=_write,
    open=_open,
    run_with=("llama-server -m {path}", "llama-cli -m {path}"),
)
