"""GGUF files in a llama.cpp server of their own, with a GGUF adapter on it if one is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.models.chat import open_chat
from tunesmith.models.declared import declared_by_gguf
from tunesmith.models.gguf_header import read_gguf_header
from tunesmith.models.load import find_base, load_model
from tunesmith.systems.engine_system import engine_system
from tunesmith.systems.opened import Form, OpenedSystem, Opening, training_of
from tunesmith.systems.placing import Place

__all__ = ["FORM"]

_SLOT_TOKENS = 4096  # context in llama.cpp at most: keys and values of it are kept in memory
_MOST_SLOTS = 8  # each of them keeps keys and values of its own
_ADAPTER = "adapter"  # its name in the engine


@contextmanager
def _open(reference: str, place: Place, how: Opening) -> Iterator[OpenedSystem]:
    from tunesmith.engines.llama_cpp import LlamaCpp, LoraFile

    file, adapter = place.gguf, place.adapter
    assert file is not None  # as `fits` says
    _check_kinds(file, adapter)
    declared = declared_by_gguf(file)
    chat = how.chat or open_chat(find_base(str(file), reporter=how.reporter))
    context = min(declared.context or _SLOT_TOKENS, _SLOT_TOKENS)
    adapters = {} if adapter is None else {_ADAPTER: LoraFile(adapter)}
    with LlamaCpp(file, context=context, slots=min(how.at_once, _MOST_SLOTS), adapters=adapters) as engine:
        about: dict[str, Any] = {"chat": chat, "label": how.label(reference, engine.name), "context": context}
        named = None if adapter is None else _ADAPTER
        system = engine_system(engine, name=how.name or reference, adapter=named, **about)
        kind = f"{declared.stored} and an adapter" if adapter else declared.stored
        yield OpenedSystem(
            reference=reference,
            label=f"{how.what or reference}: {kind} in llama.cpp {engine.version}",
            engine=engine.name,
            form=f"GGUF {declared.stored}",
            system=system,
            declared=declared,
            context=context,
            chat=chat,
            weights=None if adapter else lambda: load_model(find_base(str(file), reporter=how.reporter), "float32"),
            **training_of(place.run),
        )


def _check_kinds(file: Path, adapter: Path | None) -> None:
    """ModelError for an adapter in the place of a model, or the other way round."""
    for path, is_adapter in ((file, False), (adapter, True)):
        if path is None or (read_gguf_header(path).settings.get("general.type") == "adapter") == is_adapter:
            continue
        raise ModelError(
            "this GGUF file holds a whole model, not an adapter" if is_adapter else "this GGUF file holds an adapter alone",
            value=str(path),
            expected="BASE.gguf+ADAPTER.gguf: the model first, its adapter second",
            hint=f"name the base that it was trained on: BASE.gguf+{path}",
        )


FORM = Form(engine="llama.cpp", order=20, fits=lambda place: place.gguf is not None, open=_open)
