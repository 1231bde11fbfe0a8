"""The adapter alone as a GGUF file, which llama.cpp puts on the base when it starts or for each request."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.gguf.lora import write_gguf_lora
from tunesmith.ship.gguf.write import write_gguf

__all__ = ["FORMAT"]


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    made = write_gguf_lora(source.base, source.adapter_alone(), folder / f"{source.name}-lora.gguf", name=source.name)
    note = "load it on a GGUF file of the base, with scale 1"
    return Written(main=made.path.name, numbers={"parameters": made.num_parameters}, notes=(note,))


@contextmanager
def _on_base(source: ExportSource, path: Path) -> Iterator[str]:
    """On the base in float16, which is written for the length of the block."""
    with tempfile.TemporaryDirectory() as place:
        base = write_gguf(source.base, Path(place) / "base-f16.gguf", quant="f16").path
        yield f"{base}+{path}"


FORMAT = Format(
    name="gguf_lora",
    title="GGUF adapter",
    order=25,
    engine="llama.cpp",
    package="xllamacpp",
    write=_write,
    reference=_on_base,
    run_with=("llama-server -m BASE.gguf --lora {path}",),
)
