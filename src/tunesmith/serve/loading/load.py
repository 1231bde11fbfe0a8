"""All references of a server, opened.

| reference | engine |
|---|---|
| a run, an adapter's folder, `BASE+ADAPTER` | that of this process, or a vLLM started by us; the base answers too |
| a base, a merged model, a model folder, a release | the same |
| `FILE.gguf`, `FILE.gguf+ADAPTER.gguf`, an export as GGUF | llama.cpp, started by us |
| `http://HOST:PORT/v1`, with `#MODEL` for one of its models | the server there |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tunesmith.core.errors import ModelError, TunesmithError
from tunesmith.serve.errors import ApiError
from tunesmith.serve.loading.address import UrlGroup, is_url, place_url
from tunesmith.serve.loading.asked import Loading, Named
from tunesmith.serve.registry import Registry

if TYPE_CHECKING:  # they load torch
    from tunesmith.serve.loading.folders import BaseGroup
    from tunesmith.serve.loading.gguf import GgufGroup

__all__ = ["load_all"]


class _Opens(Protocol):
    async def open(self, how: Loading, registry: Registry) -> Sequence[TunesmithError]: ...


async def load_all(references: Sequence[Named], how: Loading, registry: Registry) -> list[TunesmithError]:
    """Put every reference into the registry. Those that cannot be opened, and models whose prompts are read otherwise, are left
    out, and the reasons returned, so that the others are served.

    Raises for a pinned model that is not there: the first of these reasons or, if there are none, ModelError.
    """
    servers: dict[str, UrlGroup] = {}
    files = [one for one in references if not is_url(one.reference)]
    for one in references:
        if is_url(one.reference):
            place_url(one, servers)
    refused: list[TunesmithError] = []
    bases, ggufs = _placed(files, how, refused) if files else ([], [])
    if how.speculative and (how.engine != "transformers" if bases else not refused):
        raise ModelError(
            "none of these models can have its next tokens guessed",
            value=how.speculative,
            expected="`off`, or a model in this process: no GGUF file, no address, and not --engine vllm",
            hint="--speculative off",
        )
    groups: list[_Opens] = [*bases, *ggufs, *servers.values()]
    for group in groups:
        try:
            refused += await group.open(how, registry)
        except TunesmithError as error:
            refused.append(error)
    for name in sorted(how.pin):
        await _pin(name, registry, refused)
    return refused


async def _pin(name: str, registry: Registry, refused: Sequence[TunesmithError]) -> None:
    try:
        version = registry.resolve(name)
        await version.engine.prepare(version.target, pin=True)
    except ApiError as error:
        if refused:  # it is probably one of these
            raise refused[0] from error
        raise ModelError(
            "what is to be pinned cannot be served",
            value=name,
            expected=f"a model of this server ({error.message})",
            hint="--pin NAME, or serve.pin in the recipe",
        ) from error


def _placed(
    references: Sequence[Named], how: Loading, refused: list[TunesmithError]
) -> tuple[list[BaseGroup], list[GgufGroup]]:
    """References to files, sorted by base and by GGUF file; why one cannot be goes to `refused`."""
    from tunesmith.serve.loading.folders import place_folder
    from tunesmith.serve.loading.gguf import place_gguf
    from tunesmith.systems.placing import place_of

    bases: dict[str, BaseGroup] = {}
    files: dict[str, GgufGroup] = {}
    for one in references:
        model, _, adapter = one.reference.rpartition("+")
        try:
            if model.lower().endswith(".gguf") and adapter.lower().endswith(".gguf") and not Path(one.reference).exists():
                place_gguf(one, place_of(model, how.store), files, adapter=Path(adapter).expanduser())
                continue
            place = place_of(one.reference, how.store)
            if place.gguf is not None:
                place_gguf(one, place, files)
            else:
                place_folder(one, place, bases, how)
        except TunesmithError as error:
            refused.append(error)
    # A reference that was refused may have left an empty group.
    return [base for base in bases.values() if base.wanted], [file for file in files.values() if file.wanted]
