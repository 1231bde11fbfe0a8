"""GGUF files and their adapters, in a llama.cpp that we start."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.core.errors import ModelError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import digest
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.declared import declared_by_gguf
from tunesmith.models.load import BaseFolder, find_base
from tunesmith.serve.engine import Engine
from tunesmith.serve.engines.llama_cpp import start_llama_cpp
from tunesmith.serve.loading.asked import Loading, Named, usual_sampling
from tunesmith.serve.parity import check_prompts, own_ids
from tunesmith.serve.registry import Registry, Version, plain_name
from tunesmith.systems.placing import Place

__all__ = ["GgufGroup", "place_gguf"]

_CONTEXT = 4096  # tokens per slot, unless the user wants another number
_MOST_TOKENS = 8 * _CONTEXT  # of all slots of llama.cpp: each takes the memory of a whole context
_READABLE_BYTES = 4 * 2**30  # of a GGUF file whose own tokenizer is read through transformers, which unpacks it


@dataclass(slots=True)
class GgufGroup:
    """A GGUF file and its adapters, in one llama.cpp."""

    place: Place
    adapters: dict[str, Path] = field(default_factory=dict)
    wanted: list[tuple[Named, str]] = field(default_factory=list)

    async def open(self, how: Loading, registry: Registry) -> list[ModelError]:
        """Start llama.cpp and add the versions; returns why they are not served."""
        file = self.place.gguf
        assert file is not None
        declared = declared_by_gguf(file)
        context = min(declared.context or _CONTEXT, how.context or _CONTEXT)
        engine = await start_llama_cpp(
            file,
            self.adapters,
            context=context,
            at_once=min(how.rows, max(1, _MOST_TOKENS // context)),
            threads=_threads(),
            sampling=usual_sampling(file.parent, self.place.run, how.store),
        )
        served = False
        try:
            await self._add(engine, declared.stored, how, registry)
            served = True
        except ModelError as error:
            return [error]
        finally:
            if not served:
                await engine.close()
        return []

    async def _add(self, engine: Engine, stored: str | None, how: Loading, registry: Registry) -> None:
        """Add the versions. ModelError if prompts are read otherwise than in training."""
        file = self.place.gguf
        assert file is not None
        read = self._read_own(how)
        found = read if isinstance(read, str) else ""
        if not isinstance(read, str):
            folder, chat = read
            found = await check_prompts(engine, "", chat, own_ids(folder.path, chat), name=self.wanted[0][0].name)
        own = sha256_file(file)
        for one, target in self.wanted:
            id = digest(own, sha256_file(self.adapters[target])) if target else own
            version = Version(
                name=one.name,
                id=id[:12],
                engine=engine,
                target=target,
                label=f"{file.name}, {stored}" + (f", with {self.adapters[target].name}" if target else ""),
                parity=found,
                base=file.stem if target else "",
            )
            registry.add(version, *one.aliases)

    def _read_own(self, how: Loading) -> tuple[BaseFolder, Chat] | str:
        """See `_own`; or why that cannot be had, in words."""
        try:
            read = self._own(how)
        except ModelError as error:
            return f"not measured: {error.problems[0].what}"
        return "not measured: the file is too large to be read by transformers" if read is None else read

    def _own(self, how: Loading) -> tuple[BaseFolder, Chat] | None:
        """The files that the model was trained with, or the GGUF file itself as transformers reads it."""
        run, file = self.place.run, self.place.gguf
        assert file is not None
        if run is not None:
            base = find_base(how.store.place_of(str(run.manifest["settings"]["base"])), reporter=how.reporter)
            return base, open_chat(base, run.manifest["settings"].get("template"))
        if file.stat().st_size > _READABLE_BYTES:
            return None
        base = find_base(str(file), reporter=how.reporter)
        return base, open_chat(base)


def _threads() -> int | None:
    """Those of the engine in this process, where the environment sets them; None: llama.cpp's own choice."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else None


def place_gguf(one: Named, place: Place, groups: dict[str, GgufGroup], *, adapter: Path | None = None) -> None:
    """Sort a reference to its file. ModelError for an adapter that is not there."""
    assert place.gguf is not None
    group = groups.setdefault(str(place.gguf.resolve()), GgufGroup(place))
    if adapter is None:
        group.wanted.append((one.or_name(plain_name(place.gguf.stem)), ""))
        return
    if not adapter.is_file():
        raise ModelError(
            "there is no such GGUF adapter",
            value=str(adapter),
            expected="a file that exists",
            hint="tunesmith export RUN --to gguf-lora   makes one",
        )
    target = str(adapter.resolve())
    group.adapters[target] = adapter
    group.wanted.append((one.or_name(plain_name(adapter.stem)), target))
