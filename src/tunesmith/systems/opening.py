"""One reference opens one system: an artifact, a model folder, an adapter on its base, a GGUF file, or an address.

| reference | what it opens |
|---|---|
| `run:latest`, `model:latest`, `export:latest`, `run:STAGE`, first digits of an id | an artifact of the project |
| `FOLDER` | a model folder, or the folder of an adapter on the base that it names |
| `BASE+ADAPTER` | an adapter on the base that is given |
| a name of `tunesmith bases`, a hub id that is on this machine | a base |
| `FILE.gguf` | the file in llama.cpp |
| `BASE.gguf+ADAPTER.gguf` | a GGUF adapter on a GGUF file in llama.cpp |
| `http://HOST:PORT/v1#MODEL` | what answers as that model at an address |

Which engine a folder is opened in, its files say: see `tunesmith.systems.forms`, a file for each form.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from tunesmith.core.errors import EvaluationError
from tunesmith.systems import forms
from tunesmith.systems.opened import Form, OpenedSystem, Opening
from tunesmith.systems.placing import Place, place_of

__all__ = ["OpenedSystem", "Opening", "form_kinds", "open_system"]


@cache
def form_kinds() -> tuple[Form, ...]:
    """All declared forms, in the order in which they are tried."""
    modules = [importlib.import_module(f"{forms.__name__}.{one.name}") for one in pkgutil.iter_modules(forms.__path__)]
    found = [kind for module in modules if isinstance(kind := getattr(module, "FORM", None), Form)]
    return tuple(sorted(found, key=lambda one: one.order))


@contextmanager
def open_system(reference: str, how: Opening) -> Iterator[OpenedSystem]:
    """The system behind `reference`, for as long as the block runs.

    Raises:
        ArtifactError: no such artifact, or one whose files are not as they were written.
        ModelError: a folder, base or adapter that cannot be opened, or an adapter that was trained on another base.
        EvaluationError: a reference that means nothing, a server that cannot be asked, or an engine that cannot open it.
        EngineError: the engine is missing, or ends, or serves another model.
    """
    place = place_of(reference, how.store)
    with _form_of(reference, place, how.engine).open(reference, place, how) as opened:
        yield opened


def _form_of(reference: str, place: Place, engine: str) -> Form:
    for form in form_kinds():
        if (form.engine == engine and form.takes(place)) or (engine in ("", form.engine) and form.fits(place)):
            return form
    usual = next(form.engine for form in form_kinds() if form.fits(place))
    raise EvaluationError(
        "this engine does not open such files",
        value=f"{reference} in {engine}",
        expected=f"the engine that they are made for: {usual}",
        hint=f"open it in {usual}",
    )
