"""Local programs: a GGUF file, the Modelfile that `ollama create` takes, with the model's own template, end tokens and
settings, and scripts for text-generation-webui, LM Studio and Jan."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

from tunesmith.core.errors import EngineError
from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.ship.formats.gguf import write_weighed
from tunesmith.ship.gguf.quants import QuantName
from tunesmith.ship.ollama.export import add_bos_of, make_modelfile, serving_of
from tunesmith.ship.programs import write_program_scripts

__all__ = ["FORMAT"]

_QUANTS: tuple[QuantName, ...] = ("q8_0", "f16", "bf16", "q6_k", "q5_k_m", "q4_k_m")


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    """The template is derived first: without one, gigabytes of weights need not be written."""
    file = folder / f"model-{quant}.gguf"
    serving = serving_of(source)
    make_modelfile(source.chat, serving, weights=f"./{file.name}")
    written = write_weighed(source, file, cast("QuantName", quant))
    made = make_modelfile(source.chat, serving, weights=f"./{file.name}", bos=add_bos_of(file))
    (folder / "Modelfile").write_text(made.text, encoding="utf-8")
    write_program_scripts(folder, source.name, file.name, serving)
    return Written(
        numbers={**written.numbers, "conversations_equal": made.template.num_checked}, notes=(*written.notes, *made.notes)
    )


def _never(source: ExportSource, path: Path) -> AbstractContextManager[str]:
    """Ollama could not be run where this was written, so nothing is claimed of its answers: EngineError."""
    raise EngineError(
        "answers of Ollama are not measured",
        value=str(path),
        expected="the same GGUF asked through llama.cpp, which Ollama runs: --to gguf",
        hint=f"ollama create NAME -f {path / 'Modelfile'}",
    )


FORMAT = Format(
    name="ollama",
    title="Ollama and local programs",
    order=27,
    engine="Ollama",
    quants=_QUANTS,
    write=_write,
    reference=_never,
    run_with=("ollama create NAME -f {path}/Modelfile", "ollama run NAME"),
)
