"""All references of a server, opened.

| reference | engine |
|---|---|
| a run, an adapter's folder, `BASE+ADAPTER` | embedded; the base answers under its own name too |
| a base, a merged model, a model folder, a release | embedded |
| `FILE.gguf`, `FILE.gguf+ADAPTER.gguf`, an export as GGUF | llama.cpp, started by us |
| `http://HOST:PORT/v1`, with `#MODEL` for one of its models | the server there |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tunesmith.core.errors import ModelError
from tunesmith.serve.loading.asked import Loading, Named
from tunesmith.serve.loading.embedded import Group, place_embedded
from tunesmith.serve.loading.others import GgufGroup, UrlGroup, is_url, place_gguf, place_url
from tunesmith.serve.registry import Registry
from tunesmith.systems.placing import Place, place_of

__all__ = ["load_all"]


class _Opens(Protocol):
    async def open(self, how: Loading, registry: Registry) -> list[ModelError]: ...


async def load_all(references: Sequence[Named], how: Loading, registry: Registry) -> list[ModelError]:
    """Put every reference into the registry. Models whose prompts are read otherwise are left out and returned.

    Raises what opening a reference raises (ArtifactError, ModelError, EvaluationError, EngineError).
    """
    bases: dict[str, Group] = {}
    files: dict[str, GgufGroup] = {}
    servers: dict[str, UrlGroup] = {}
    for one in references:
        if is_url(one.reference):
            place_url(one, servers)
            continue
        model, _, adapter = one.reference.rpartition("+")
        if model.lower().endswith(".gguf") and adapter.lower().endswith(".gguf") and not Path(one.reference).exists():
            place_gguf(one, place_of(model, how.store), files, adapter=Path(adapter).expanduser())
            continue
        place: Place = place_of(one.reference, how.store)
        if place.gguf is not None:
            place_gguf(one, place, files)
        else:
            place_embedded(one, place, bases, how)
    groups: list[_Opens] = [*bases.values(), *files.values(), *servers.values()]
    refused: list[ModelError] = []
    for group in groups:
        refused += await group.open(how, registry)
    return refused
