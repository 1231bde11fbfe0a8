"""What an export format is, and how one is declared.

A file of `tunesmith.ship.formats` that defines `FORMAT = Format(…)` is a format; nothing else names it.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EvaluationError, ModelError
from tunesmith.models.chat import Chat, Encoded
from tunesmith.models.load import BaseFolder
from tunesmith.models.tuned import is_whole
from tunesmith.models.use import Use
from tunesmith.ship import formats
from tunesmith.systems.opening import OpenedSystem, Opening, open_system

__all__ = ["ExportSource", "Format", "Written", "by_path", "find_format", "format_kinds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSource:
    """What an export is made from. `name`: of the model, as files and metadata have it.

    `adapter`: what was trained (see `models.tuned`). `merged`: base and adapter in one folder, in the types of the base.
    `rows`: training rows as the model saw them, for formats that calibrate on text; never rows of the test split. `context`:
    tokens that training rows could have, which is what a server should offer at least. `system`: the system prompt of training,
    empty for none. `use`: sampling settings of the evaluation.
    """

    name: str
    base: BaseFolder
    adapter: Path
    merged: BaseFolder
    chat: Chat
    rows: Sequence[Encoded]
    context: int
    use: Use
    system: str = ""

    def adapter_alone(self) -> Path:
        """The folder of the adapter, for formats without the base's weights. ModelError where a whole model was trained."""
        if is_whole(self.adapter):
            raise ModelError(
                "the run trained a whole model: it has no adapter to export",
                value=str(self.adapter),
                expected="a run with an adapter",
                hint="export the whole model: --to gguf, or --to merged",
            )
        return self.adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a format wrote. `main`: the file or folder that an engine opens, relative to the format's folder (`.`: the folder).

    `numbers`: figures worth reporting, such as bits a weight. `notes`: sentences that a user should read.
    """

    main: str = "."
    numbers: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@contextmanager
def by_path(source: ExportSource, file: Path) -> Iterator[str]:
    """The reference of what opens alone."""
    yield str(file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How a format is declared. `title` is its name in tables, `order` its place there, `engine` what runs it.

    `quants`: the kinds of quantisation it can write, the default first; empty if there is no choice.
    `write(source, folder, quant)` fills an empty folder. `reference(source, file)`: by what `tunesmith parity` opens what was
    written (`Written.main`), good for the length of a block; EngineError for an engine that cannot be had anywhere.
    `package`: the Python package that runs it, by whose version an export is another one; empty for a program of its own.
    `run_with`: lines that people type to run it, with `{path}` for the file or folder.
    """

    name: str
    title: str
    order: int
    engine: str
    write: Callable[[ExportSource, Path, str], Written]
    reference: Callable[[ExportSource, Path], AbstractContextManager[str]] = by_path
    quants: tuple[str, ...] = ()
    package: str = ""
    run_with: tuple[str, ...] = ()

    @property
    def engine_version(self) -> str:
        """Of the package that runs it; empty where that is not installed or not known."""
        try:
            return version(self.package) if self.package else ""
        except PackageNotFoundError:
            return ""

    @contextmanager
    def open(self, source: ExportSource, file: Path, *, name: str = "tuned", at_once: int = 1) -> Iterator[OpenedSystem]:
        """What was written, on its engine, for the length of the block; `name` and `at_once` as in `Opening`.

        Raises:
            EngineError: the engine is missing, or ends.
            ModelError: the engine cannot open it.
        """
        how = Opening(
            store=Store(file.parent),
            chat=source.chat,
            options=source.chat.options,
            engine=self.engine,
            name=name,
            what=file.name if file.is_file() else self.title,
            at_once=at_once,
        )
        with self.reference(source, file) as reference, open_system(reference, how) as opened:
            yield opened

    def checked_quant(self, quant: str) -> str:
        """The quantisation asked for, or the default for an empty name. EvaluationError for one that it cannot write."""
        if not quant:
            return self.quants[0] if self.quants else ""
        if quant in self.quants:
            return quant
        near = difflib.get_close_matches(quant, self.quants, n=1, cutoff=0.0)
        raise EvaluationError(
            f"the format {self.name} has no such quantisation",
            value=quant,
            expected=f"one of {', '.join(self.quants)}" if self.quants else "none: it has no choice",
            hint=f"--quant {near[0]}" if near else "leave --quant out",
        )


@cache
def format_kinds() -> tuple[Format, ...]:
    """All declared formats, in the order of tables."""
    modules = [importlib.import_module(f"{formats.__name__}.{one.name}") for one in pkgutil.iter_modules(formats.__path__)]
    found = [kind for module in modules if isinstance(kind := getattr(module, "FORMAT", None), Format)]
    return tuple(sorted(found, key=lambda one: (one.order, one.name)))


def find_format(name: str) -> Format:
    """The format of that name. EvaluationError if no file declares it."""
    known = {one.name: one for one in format_kinds()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    raise EvaluationError(
        "there is no such export format",
        value=name,
        expected=f"one of {', '.join(known)}",
        hint=f"--to {near[0]}",
    )
