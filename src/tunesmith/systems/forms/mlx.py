"""MLX: folders that mlx-lm wrote, with an adapter in its own files if one is named, in mlx-lm.

Such a folder in whole numbers opens in transformers too; people run it in mlx-lm, so that is what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.models.declared import declared_adapter
from tunesmith.models.foreign_adapters import MLX, checked_adapter, origin_of
from tunesmith.models.load import BaseFolder, find_base, load_model, safetensors_metadata
from tunesmith.systems.engine_system import engine_system
from tunesmith.systems.forms.folder import declared_chat
from tunesmith.systems.opened import Form, OpenedSystem, Opening, training_of
from tunesmith.systems.placing import Place

__all__ = ["FORM"]


@contextmanager
def _open(reference: str, place: Place, how: Opening) -> Iterator[OpenedSystem]:
    from tunesmith.engines.mlx import Mlx

    folder = find_base(place.model, reporter=how.reporter, quantised=True)
    chat, declared = declared_chat(folder, place, how)
    if place.adapter is not None:
        with checked_adapter(place.adapter) as usable:
            declared = replace(declared, adapter=declared_adapter(usable))
    bits = _bits(folder)
    is_whole = not bits and place.adapter is None
    kind = f"{bits} bits" if bits else declared.stored
    with Mlx(folder.path, adapter=place.adapter) as engine:
        about: dict[str, Any] = {"chat": chat, "label": how.label(reference, MLX), "context": folder.context}
        yield OpenedSystem(
            reference=reference,
            label=f"{how.what or reference}: {kind}{' and its adapter' if place.adapter else ''} in mlx-lm {engine.version}",
            engine=engine.name,
            form=f"MLX {kind}",
            system=engine_system(engine, name=how.name or reference, **about),
            declared=declared,
            context=folder.context,
            chat=chat,
            weights=(lambda: load_model(folder, "float32")) if is_whole else None,
            **training_of(place.run),
        )


def _bits(folder: BaseFolder) -> int | None:
    """Of the weights of a quantised folder, as mlx-lm declares them."""
    stated = folder.config.get("quantization") or {}
    return int(stated["bits"]) if "bits" in stated else None


def _takes(place: Place) -> bool:
    """A folder or base, alone or with an adapter that mlx-lm reads."""
    if place.gguf is not None or place.url:
        return False
    return place.adapter is None or origin_of(place.adapter).maker == MLX


def _fits(place: Place) -> bool:
    """A folder that mlx-lm wrote."""
    return _takes(place) and _is_mlx(Path(place.model).expanduser())


def _is_mlx(folder: Path) -> bool:
    first = next(iter(sorted(folder.glob("*.safetensors"))), None)
    try:
        return first is not None and safetensors_metadata(first).get("format") == "mlx"
    except ModelError:  # damaged: whoever opens it says so
        return False


FORM = Form(engine=MLX, order=30, fits=_fits, takes=_takes, open=_open)
