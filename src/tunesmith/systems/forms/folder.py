"""Model folders and adapters that transformers opens in this process, whole or quantised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunesmith.core.records import digest
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.declared import DeclaredModel, declared_adapter, declared_by_folder
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.memory import release_memory
from tunesmith.models.template import template_text
from tunesmith.models.tuned import checked_tuned, is_whole, open_tuned
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.opened import Form, OpenedSystem, Opening, training_of
from tunesmith.systems.placing import Place, check_base

__all__ = ["FORM", "TRANSFORMERS", "declared_chat", "opened_whole"]

TRANSFORMERS = "transformers"
_BATCH, _MANY = 16, 64  # answers made at once


@contextmanager
def _open(reference: str, place: Place, how: Opening) -> Iterator[OpenedSystem]:
    if place.adapter is None:
        folder = find_base(place.model, reporter=how.reporter)
        yield opened_whole(reference, place, folder, how)
    else:
        with checked_tuned(place.adapter) as usable:
            yield _opened_adapter(reference, place, usable, how)
    release_memory()


def opened_whole(
    reference: str,
    place: Place,
    folder: BaseFolder,
    how: Opening,
    *,
    form: str = "",
    words: str = "",
    weights: Callable[[], Any] | None = None,
) -> OpenedSystem:
    """A model folder in transformers. Of a quantised one: its `form`, the `words` for it, what opens its whole `weights`."""
    chat, declared = declared_chat(folder, place, how)
    system = _local(folder, chat, load_model(folder, how.precision), how, name=reference, marks=(how.precision,))
    stored = declared.stored or how.precision
    kind = words or _type_words(stored, how.precision)
    return OpenedSystem(
        reference=reference,
        label=f"{how.what or reference}: {kind} in transformers",
        engine=TRANSFORMERS,
        form=form or (stored if how.precision == "float32" else f"{how.precision} served"),
        system=system,
        declared=declared,
        context=folder.context,
        chat=chat,
        weights=weights or (lambda: system.model),
        **training_of(place.run),
    )


def _opened_adapter(reference: str, place: Place, adapter: Path, how: Opening) -> OpenedSystem:
    folder = find_base(place.model, reporter=how.reporter)
    check_base(folder, place)
    whole = is_whole(adapter)
    what = "trained as a whole" if whole else "and its adapter"
    chat, declared = declared_chat(folder, place, how)
    model = open_tuned(load_model(folder, how.precision), adapter)
    system = _local(folder, chat, model, how, name=reference, marks=(how.precision, str(adapter)))
    return OpenedSystem(
        reference=reference,
        label=f"{reference}: {folder.name} {what} in transformers, {how.precision}",
        engine=TRANSFORMERS,
        form="float32" if how.precision == "float32" else f"{how.precision} served",
        system=system,
        declared=declared if whole else replace(declared, adapter=declared_adapter(adapter)),
        context=folder.context,
        chat=chat,
        weights=lambda: model,
        base=replace(system, name="base", adapter=False, fingerprint=folder.fingerprint),
        **training_of(place.run),
    )


def declared_chat(folder: BaseFolder, place: Place, how: Opening) -> tuple[Chat, DeclaredModel]:
    """The chat format of a folder under the options of its training, and what the folder declares."""
    options = how.options if place.run is None else place.run.manifest["settings"].get("template")
    chat = open_chat(folder, options)  # asked as it was trained
    return chat, declared_by_folder(folder, chat.end_ids, template_text(chat.tokenizer))


def _local(folder: BaseFolder, chat: Chat, model: Any, how: Opening, *, name: str, marks: tuple[str, ...]) -> LocalSystem:
    return LocalSystem(
        name=how.name or name,
        label=how.label(name, TRANSFORMERS),
        fingerprint=digest(folder.fingerprint, *marks),
        model=model,
        chat=chat,
        context=folder.context,
        batch_examples=_MANY if how.at_once > 1 else _BATCH,
    )


def _type_words(stored: str, computed: str) -> str:
    return stored if stored == computed else f"stored in {stored}, computed in {computed},"


def _is_folder(place: Place) -> bool:
    return place.gguf is None and not place.url


FORM = Form(engine=TRANSFORMERS, order=100, fits=_is_folder, takes=_is_folder, open=_open)
