"""The adapter alone as a GGUF file, which llama.cpp puts on the base when it starts or for each request."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.engines.llama_cpp import LlamaCpp, LoraFile
from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.gguf.lora import write_gguf_lora
from tunesmith.ship.gguf.write import write_gguf
from tunesmith.systems.engine_system import engine_system
from tunesmith.systems.system import System

__all__ = ["FORMAT"]

_CONTEXT = 4096  # tokens of a request at most
_SLOTS = 4  # requests at once


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    made = write_gguf_lora(source.base, source.adapter, folder / f"{source.name}-lora.gguf", name=source.name)
    note = "load it on a GGUF file of the base, with scale 1"
    return Written(main=made.path.name, numbers={"parameters": made.num_parameters}, notes=(note,))


@contextmanager
def _open(source: ExportSource, path: Path, quant: str) -> Iterator[System]:
    """On the base in float16, which is written for the length of the block."""
    context = min(source.base.context, _CONTEXT)
    with tempfile.TemporaryDirectory() as place:
        base = write_gguf(source.base, Path(place) / "base.gguf", quant="f16").path
        with LlamaCpp(base, context=context, slots=_SLOTS, adapters={source.name: LoraFile(path)}) as engine:
            label = f"base in float16 + {path.name} in llama.cpp"
            yield engine_system(engine, source.chat, name="tuned", label=label, context=context, adapter=source.name)


FORMAT = Format(
    name="gguf_lora",
    title="GGUF adapter",
    order=25,
    engine="llama.cpp",
    write=_write,
    open=_open,
    comparable=False,
    run_with=("llama-server -m BASE.gguf --lora {path}",),
)
