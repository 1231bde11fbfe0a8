"""One reference opens one system: an artifact, a model folder, an adapter on its base, a GGUF file, or an address.

| reference | what it opens |
|---|---|
| `run:latest`, `model:latest`, `export:latest`, `run:STAGE`, first digits of an id | an artifact of the project |
| `FOLDER` | a model folder, or the folder of an adapter on the base that it names |
| `BASE+ADAPTER` | an adapter on the base that is given |
| a name of `tunesmith bases`, a hub id that is on this machine | a base |
| `FILE.gguf` | the file in llama.cpp |
| `http://HOST:PORT/v1#MODEL` | what answers as that model at an address |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import EvaluationError
from tunesmith.core.records import digest
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.declared import DeclaredModel, declared_adapter, declared_by_folder, declared_by_gguf
from tunesmith.models.load import BaseFolder, StoredType, find_base, load_model
from tunesmith.models.template import template_text
from tunesmith.models.tuned import checked_tuned, is_whole, open_tuned
from tunesmith.systems.engine_system import engine_system
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.placing import Place, check_base, place_of
from tunesmith.systems.system import System

__all__ = ["OpenedSystem", "Opening", "open_system"]

_ADDRESS = re.compile(r"https?://")
_MOST_SLOTS = 8  # each of them keeps keys and values of its own
_SLOT_TOKENS = 4096  # context of a GGUF file in llama.cpp at most: keys and values of it are kept in memory
_UNKNOWN_CONTEXT = 2**31  # a server says when a prompt does not fit
_BATCH = 16  # answers made at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How references are opened: the project's `store`, the number type of models in this process, what is reported to whom.

    `chat`: the chat format of the tested model, by which a GGUF file or a server is asked; without it a GGUF file's own.
    `at_once`: requests that llama.cpp answers at the same time; with more than one, rounding depends on which of them meet.
    """

    store: Store
    precision: StoredType = "float32"
    reporter: Reporter = field(default_factory=SilentReporter)
    chat: Chat | None = None
    at_once: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSystem:
    """A system that is ready to be asked. `form`: the row of the table of tolerances that it is judged by (`eval.tolerances`).

    `declared`: what its files or its server say of it. `base`: the model without its adapter, where that can be asked too.
    `weights`: opens its files as a model whose weights can be compared, where there are files. `chat`: the format in which it
    is asked. `context`: tokens that fit; `trained_tokens`: the longest row of its training. `dataset`: id of the dataset it was
    trained on.
    """

    reference: str
    label: str
    engine: str
    form: str
    system: System
    declared: DeclaredModel
    context: int
    base: System | None = None
    chat: Chat | None = None
    weights: Callable[[], Any] | None = None
    trained_tokens: int | None = None
    dataset: str = ""

    @property
    def is_cut(self) -> bool:
        """Whether it was opened with room for fewer tokens than its files declare, to save memory."""
        return self.context < (self.declared.context or 0)


@contextmanager
def open_system(reference: str, how: Opening) -> Iterator[OpenedSystem]:
    """The system behind `reference`, for as long as the block runs.

    Raises:
        ArtifactError: no such artifact, or one whose files are not as they were written.
        ModelError: a folder, base or adapter that cannot be opened, or an adapter that was trained on another base.
        EvaluationError: a reference that means nothing, or a server that cannot be asked.
        EngineError: the engine is missing, or ends, or serves another model.
    """
    if _ADDRESS.match(reference):
        with _addressed(reference, how) as opened:
            yield opened
        return
    place = place_of(reference, how.store)
    if place.gguf is not None:
        with _in_llama_cpp(reference, place.gguf, how) as opened:
            yield opened
        return
    if place.adapter is None:
        yield _opened_folder(reference, place, how)
        return
    with checked_tuned(place.adapter) as usable:
        yield _opened_adapter(reference, place, usable, how)


def _opened_folder(reference: str, place: Place, how: Opening) -> OpenedSystem:
    folder = find_base(place.model, reporter=how.reporter)
    chat, declared = _declared(folder, place)
    system = _local(folder, chat, load_model(folder, how.precision), name=reference, marks=(how.precision,))
    stored = declared.stored or how.precision
    return OpenedSystem(
        reference=reference,
        label=f"{reference}: {_type_words(stored, how.precision)} in transformers",
        engine="transformers",
        form=stored if how.precision == "float32" else f"{how.precision} served",
        system=system,
        declared=declared,
        context=folder.context,
        chat=chat,
        weights=lambda: system.model,
        **_training(place.run),
    )


def _opened_adapter(reference: str, place: Place, adapter: Path, how: Opening) -> OpenedSystem:
    folder = find_base(place.model, reporter=how.reporter)
    check_base(folder, place)
    whole = is_whole(adapter)
    what = "trained as a whole" if whole else "and its adapter"
    chat, declared = _declared(folder, place)
    model = open_tuned(load_model(folder, how.precision), adapter)
    system = _local(folder, chat, model, name=reference, marks=(how.precision, str(adapter)))
    return OpenedSystem(
        reference=reference,
        label=f"{reference}: {folder.name} {what} in transformers, {how.precision}",
        engine="transformers",
        form="float32" if how.precision == "float32" else f"{how.precision} served",
        system=system,
        declared=declared if whole else replace(declared, adapter=declared_adapter(adapter)),
        context=folder.context,
        chat=chat,
        weights=lambda: model,
        base=replace(system, name="base", adapter=False, fingerprint=folder.fingerprint),
        **_training(place.run),
    )


def _declared(folder: BaseFolder, place: Place) -> tuple[Chat, DeclaredModel]:
    options = None if place.run is None else place.run.manifest["settings"].get("template")
    chat = open_chat(folder, options)  # asked as it was trained
    return chat, declared_by_folder(folder, chat.end_ids, template_text(chat.tokenizer))


def _local(folder: BaseFolder, chat: Chat, model: Any, *, name: str, marks: tuple[str, ...]) -> LocalSystem:
    return LocalSystem(
        name=name,
        label=name,
        fingerprint=digest(folder.fingerprint, *marks),
        model=model,
        chat=chat,
        context=folder.context,
        batch_examples=_BATCH,
    )


def _type_words(stored: str, computed: str) -> str:
    return stored if stored == computed else f"stored in {stored}, computed in {computed},"


def _training(run: Artifact | None) -> dict[str, Any]:
    """What the run says of its training: the longest row, and the dataset."""
    if run is None:
        return {}
    most = run.manifest["settings"].get("train", {}).get("max_tokens")
    data = next((i["id"] for i in run.manifest["inputs"] if i["kind"] == "dataset"), "")
    return {"trained_tokens": most if isinstance(most, int) and most > 0 else None, "dataset": data}


# --- engines and addresses --------------------------------------------------------------------------------------------


@contextmanager
def _in_llama_cpp(reference: str, file: Path, how: Opening) -> Iterator[OpenedSystem]:
    from tunesmith.engines.llama_cpp import LlamaCpp

    declared = declared_by_gguf(file)
    chat = how.chat or open_chat(find_base(str(file), reporter=how.reporter))
    context = min(declared.context or _SLOT_TOKENS, _SLOT_TOKENS)
    with LlamaCpp(file, context=context, slots=min(how.at_once, _MOST_SLOTS)) as engine:
        yield OpenedSystem(
            reference=reference,
            label=f"{reference}: {declared.stored} in llama.cpp {engine.version}",
            engine=engine.name,
            form=f"GGUF {declared.stored}",
            system=engine_system(engine, chat, name=reference, label=reference, context=context),
            declared=declared,
            context=context,
            chat=chat,
            weights=lambda: load_model(find_base(str(file), reporter=how.reporter), "float32"),
        )


@contextmanager
def _addressed(reference: str, how: Opening) -> Iterator[OpenedSystem]:
    """What the server's interface has: a vLLM shows its prompts and log-probabilities, others little but their answers. What is
    lacking is not measured."""
    from tunesmith.engines.address import open_address

    url, _, model = reference.partition("#")
    if not model:
        raise EvaluationError(
            "no model of the server is named",
            value=reference,
            expected="the address and the model's name as the server knows it",
            hint=f"{url}#NAME; most servers list their names at {url.rstrip('/')}/models",
        )
    if how.chat is None:
        raise EvaluationError(
            "a server alone does not say in which chat format it was trained",
            value=reference,
            expected="the model that was tested first, from its files; the server second",
            hint=f"tunesmith parity run:latest {reference}",
        )
    with open_address(url, model) as engine:
        yield OpenedSystem(
            reference=reference,
            label=f"{model} in {engine.name} {engine.version}".rstrip() + f" at {url}",
            engine=engine.name,
            form=f"{engine.name} at an address",
            system=engine_system(engine, how.chat, name=reference, label=reference, context=_UNKNOWN_CONTEXT),
            declared=DeclaredModel(where=url),
            context=_UNKNOWN_CONTEXT,
            chat=how.chat,
        )
