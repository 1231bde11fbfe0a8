"""What a reference opens as, how, and how a form is declared. Nothing here knows which forms there are: see `opening`.

A file of `tunesmith.systems.forms` that holds `FORM = Form(…)` is a form that references open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import EngineError
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.models.chat import Chat
from tunesmith.models.declared import DeclaredModel
from tunesmith.models.load import StoredType
from tunesmith.systems.placing import Place
from tunesmith.systems.system import System

__all__ = ["Form", "OpenedSystem", "Opening", "needed", "training_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How references are opened: the project's `store`, the number type of models in this process, what is reported to whom.

    `chat`: the chat format of the tested model, by which a GGUF file or a server is asked; without it a GGUF file's own.
    `options`: of the template, for a folder whose run is not known. `engine`: which one opens it, where several could; empty
    for the one that the files are made for. `name`: of the system, the reference if empty; `what`: for people, what is opened,
    if the reference is a path that is not to be shown. `at_once`: requests that an engine answers at the same time; with more
    than one, rounding depends on which of them meet, so greedy answers are repeated up to rounding only.
    """

    store: Store
    precision: StoredType = "float32"
    reporter: Reporter = field(default_factory=SilentReporter)
    chat: Chat | None = None
    options: Mapping[str, Any] | None = None
    engine: str = ""
    name: str = ""
    what: str = ""
    at_once: int = 1

    def label(self, reference: str, engine: str) -> str:
        """Of the system, for people."""
        return f"{self.what} in {engine}" if self.what else reference


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a form is declared. `engine` opens it; `fits(place)`: whether the files are made for that engine; `takes(place)`:
    whether it can open them when it is asked for by name. The first form in `order` that fits opens a reference."""

    engine: str
    order: int
    fits: Callable[[Place], bool]
    open: Callable[[str, Place, Opening], AbstractContextManager[OpenedSystem]]
    takes: Callable[[Place], bool] = lambda place: False


def needed(module: str, *, engine: str, install: str) -> None:
    """EngineError with the command to type if the Python package `module`, by which `engine` opens a form, is missing."""
    if find_spec(module) is None:
        raise EngineError(
            f"{engine} needs a package that is not installed", value=module, expected="an installed package", hint=install
        )


def training_of(run: Artifact | None) -> dict[str, Any]:
    """What a run says of its training, as fields of `OpenedSystem`: the longest row, and the dataset."""
    if run is None:
        return {}
    most = run.manifest["settings"].get("train", {}).get("max_tokens")
    data = next((i["id"] for i in run.manifest["inputs"] if i["kind"] == "dataset"), "")
    return {"trained_tokens": most if isinstance(most, int) and most > 0 else None, "dataset": data}
