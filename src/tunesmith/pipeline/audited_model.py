"""Whose model an audit is about: opened from the files of an adapter or a model, or found at an address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.core.errors import EvaluationError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import digest
from tunesmith.eval.results import Audited
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.foreign_adapters import CONFIG, WEIGHTS, Origin, checked_adapter, origin_of
from tunesmith.models.load import BaseFolder, find_base
from tunesmith.pipeline.bigger import address_of
from tunesmith.pipeline.context import Context
from tunesmith.pipeline.sections.eval import BiggerConfig
from tunesmith.systems.system import Address

__all__ = ["Opened", "Subject", "opened_subject"]

_UNKNOWN = (
    "whether the model was trained on these documents",
    "whether the questions that it was trained on belonged to their answers",
)
_FROM_OUTSIDE = ("not_recited", "parity")  # gates about training rows, and about a merged model that an audit does not make
_BY_LIKELIHOODS = ("answers_the_question", "general_text")  # which a server does not give


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is audited, one of three: the folder of an adapter for the base, a model (folder or hub id), or what answers as
    `model_name` at the address of an OpenAI-compatible server."""

    adapter: Path | None = None
    model: str = ""
    url: str = ""
    model_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The audited model, ready to be measured. `fingerprint`: of its files, or its address. `own`: the chat format and the
    context in which it is asked, where these are not the base's."""

    audited: Audited
    fingerprint: str
    adapter: Path | None = None
    folder: BaseFolder | None = None
    address: Address | None = None
    own: tuple[BaseFolder, Chat] | None = None

    def formats(self, project: Context) -> list[tuple[BaseFolder, Chat]]:
        """Context and chat format of the base, and those of the audited model where it has others."""
        return [(project.base, project.chat), *([self.own] if self.own else [])]


@contextmanager
def opened_subject(project: Context, subject: Subject) -> Iterator[Opened]:
    """The audited model, as long as the block runs. EvaluationError or ModelError if it cannot be compared with the base."""
    given = [name for name in ("adapter", "model", "url") if getattr(subject, name)]
    if len(given) != 1:
        raise EvaluationError(
            "an audit is of one model",
            value=", ".join(f"--{name}" for name in given) or "none",
            expected="one of --adapter, --model and --url",
            hint="tunesmith audit --base smollm2 --adapter FOLDER --source ./posts",
        )
    if subject.adapter is not None:
        with checked_adapter(subject.adapter) as usable:
            yield _adapter(project, subject.adapter, usable)
    else:
        yield _folder(project, subject.model) if subject.model else _server(project, subject)


def _adapter(project: Context, folder: Path, usable: Path) -> Opened:
    origin, notes = origin_of(folder), []
    if origin.base and Path(origin.base).name.casefold() != Path(project.base.address).name.casefold():
        notes.append(f"the adapter names {origin.base} as its base; the base here is {project.base.name}")
    own = None
    if _brings_template(folder):
        chat = open_chat(replace(project.base, path=folder), _template(project))
        if chat.fingerprint != project.chat.fingerprint:
            notes.append("the adapter has its own tokenizer or chat template and is asked in it; the base is asked in its own")
            own = (project.base, chat)
    marks = [sha256_file(usable / WEIGHTS), sha256_file(usable / CONFIG)]
    return Opened(
        audited=_audited(origin, f"the adapter {folder.resolve().name}", notes, _FROM_OUTSIDE),
        fingerprint=digest(*marks, *([own[1].fingerprint] if own else [])),
        adapter=usable,
        own=own,
    )


def _brings_template(folder: Path) -> bool:
    """Whether tokenizer and chat template are saved with the adapter, as most tools do: it was trained in that format."""
    if not (folder / "tokenizer.json").is_file():
        return False
    sheet = folder / "tokenizer_config.json"
    within = sheet.is_file() and "chat_template" in json.loads(sheet.read_bytes())
    return within or (folder / "chat_template.jinja").is_file()


def _folder(project: Context, model: str) -> Opened:
    folder = find_base(model, offline=True, reporter=project.reporter)
    if folder.fingerprint == project.base.fingerprint:
        raise EvaluationError(
            "base and audited model are the same files",
            value=str(folder.path),
            expected="two models",
            hint="--base takes the model that the audited one was trained from",
        )
    chat, notes = open_chat(folder, _template(project)), []
    if chat.fingerprint != project.chat.fingerprint:
        notes.append(
            "its tokenizer or chat template differs from the base's, so each model is asked in its own; bits per byte remain"
            " comparable, because they count bytes and not tokens"
        )
    return Opened(
        audited=_audited(origin_of(folder.path), f"the model {folder.name}", notes, _FROM_OUTSIDE),
        fingerprint=folder.fingerprint,
        folder=folder,
        own=(folder, chat),
    )


def _server(project: Context, subject: Subject) -> Opened:
    if not subject.model_name:
        raise EvaluationError(
            "no model of the server is named",
            value=subject.url,
            expected="the model's name as the server knows it",
            hint="--model-name NAME; most servers list the names at /v1/models",
        )
    server = BiggerConfig(**{**project.settings.bigger.model_dump(), "url": subject.url, "model": subject.model_name})
    address = address_of(server)
    notes = ["a server gives no log-probabilities of a text, so nothing that needs them is measured"]
    what = f"{subject.model_name} at {subject.url}"
    return Opened(
        audited=_audited(Origin(), what, notes, (*_FROM_OUTSIDE, *_BY_LIKELIHOODS)),
        fingerprint=digest("address", subject.url, subject.model_name),
        address=address,
    )


def _audited(origin: Origin, what: str, notes: list[str], advisory: tuple[str, ...]) -> Audited:
    return Audited(what=what, maker=origin.maker, files=origin.files, advisory=advisory, unknown=_UNKNOWN, notes=tuple(notes))


def _template(project: Context) -> dict[str, Any]:
    return project.recipe.template.model_dump(exclude_unset=True)
