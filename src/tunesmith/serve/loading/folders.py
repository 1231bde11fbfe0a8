"""Model folders and adapters: sorted by base, each base opened once in the engine of the user's choice, checked, and put into
the registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.core.errors import ModelError
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.continuous.generator import Capacity, Continuous
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.memory import free_bytes
from tunesmith.models.packed_products import pack_products
from tunesmith.models.tuned import is_whole
from tunesmith.serve.engine import Engine
from tunesmith.serve.engines.adapter_files import AdapterFiles
from tunesmith.serve.engines.embedded import Embedded
from tunesmith.serve.engines.target import Target
from tunesmith.serve.engines.vllm import start_vllm_engine
from tunesmith.serve.errors import ApiError
from tunesmith.serve.loading.asked import Loading, Named, usual_sampling
from tunesmith.serve.loading.drafting import open_drafter
from tunesmith.serve.parity import check_prompts, own_folder, own_ids
from tunesmith.serve.registry import Registry, Version, plain_name
from tunesmith.systems.placing import Place, check_base

__all__ = ["BaseGroup", "place_folder"]

_PIECE_TOKENS = {"cpu": 256, "cuda": 2048}
_SHARE = 4  # of the free memory, one in so many bytes may hold keys and values in work; half as many those of the prefix cache


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A version to be: of which target, and from which adapter folder (None: the base or a whole model)."""

    named: Named
    id: str
    target: str
    label: str
    adapter: Path | None = None


@dataclass(slots=True)
class BaseGroup:
    """A base, and what is served on it."""

    base: BaseFolder
    targets: dict[str, Target] = field(default_factory=dict)
    wanted: list[_Wanted] = field(default_factory=list)

    async def open(self, how: Loading, registry: Registry) -> list[ModelError]:
        """Open the weights and add the versions; returns why some are not served. A base that nobody named answers only beside
        an adapter that is served."""
        named = len(self.wanted)
        self._add_base(registry)
        engine: Engine = await self._in_vllm(how) if how.engine == "vllm" else self._in_this_process(how)
        served, refused = 0, list[ModelError]()
        try:
            for number, one in enumerate(self.wanted):
                if number >= named and not served:
                    break
                error = await self._add(one, engine, how, registry)
                served += error is None
                refused += [] if error is None else [error]
        finally:
            if not served:
                await engine.close()
        return refused

    async def _add(self, one: _Wanted, engine: Engine, how: Loading, registry: Registry) -> ModelError | None:
        """Add a version; returns why it is not served."""
        chat = self.targets[one.target].chat
        try:
            found = await check_prompts(
                engine, one.target, chat, own_ids(own_folder(self.base.path, one.adapter), chat), name=one.named.name
            )
            if how.preload and sum(each.adapter is not None for each in self.targets.values()) <= how.most_adapters:
                await engine.prepare(one.target)
        except ModelError as error:
            return error
        except ApiError as error:
            return _unusable(one, error)
        version = Version(
            name=one.named.name,
            id=one.id,
            engine=engine,
            target=one.target,
            label=one.label,
            parity=found,
            base=self.base.name if one.adapter is not None else "",
        )
        registry.add(version, *one.named.aliases)
        return None

    def _add_base(self, registry: Registry) -> None:
        """The base answers too, under its own name, where nothing else was named so."""
        base = self.base
        if base.fingerprint in self.targets:
            return
        self.targets[base.fingerprint] = Target(chat=self.shared(open_chat(base)), sampling=usual_sampling(base.path))
        taken = {one.named.name for one in self.wanted} | set(registry.names())
        own = plain_name(Path(base.name).name)
        named = Named(base.name, own if own not in taken else f"base-{base.fingerprint[:8]}")
        self.wanted.append(_Wanted(named=named, id=base.fingerprint[:12], target=base.fingerprint, label=base.name))

    async def _in_vllm(self, how: Loading) -> Engine:
        how.reporter.note(f"vLLM loads {self.base.name}, which may take minutes")
        return await start_vllm_engine(
            self.base.path,
            self.targets,
            base=self.base.fingerprint,
            context=self._context(how),
            at_once=how.rows,
            most_adapters=how.most_adapters,
            precision=how.precision,
        )

    def _in_this_process(self, how: Loading) -> Embedded:
        model = load_model(self.base, how.precision)
        pack_products(model)
        free = free_bytes(model.device)
        capacity = Capacity(
            rows=how.rows,
            memory_bytes=free // _SHARE,
            prefix_bytes=how.prefix_mib * 2**20 or free // (2 * _SHARE),
            piece_tokens=_PIECE_TOKENS.get(model.device.type, 512),
        )
        drafter = open_drafter(how, self.base, model, capacity) if how.speculative else None
        return Embedded(
            Continuous(model, capacity, drafter=drafter, draft_tokens=how.speculative_tokens),
            self.targets,
            base=self.base.fingerprint,
            context=self._context(how),
            most_adapters=how.most_adapters,
        )

    def _context(self, how: Loading) -> int:
        return min(self.base.context, how.context or self.base.context)

    def shared(self, chat: Chat) -> Chat:
        """One object for each chat format of a base: what is derived from it is made once."""
        return next((one.chat for one in self.targets.values() if one.chat.fingerprint == chat.fingerprint), chat)


def _unusable(wanted: _Wanted, error: ApiError) -> ModelError:
    return ModelError(
        f"{wanted.named.name} is not served: its adapter cannot be put into the base",
        value=str(wanted.adapter),
        expected=f"an adapter of this base ({error.message})",
        hint="serve it on the base that it was trained on: tunesmith serve BASE+ADAPTER",
    )


def place_folder(one: Named, place: Place, groups: dict[str, BaseGroup], how: Loading) -> None:
    """Sort a reference to its base, checked as far as can be without opening weights."""
    base = find_base(place.model, reporter=how.reporter)
    adapter = place.adapter
    if adapter is not None:  # a merged model is another one than the base of its run
        check_base(base, place)
    if adapter is not None and is_whole(adapter):
        base, adapter = find_base(str(adapter)), None
    group = groups.setdefault(base.fingerprint, BaseGroup(base))
    chat = group.shared(open_chat(base, None if place.run is None else place.run.manifest["settings"].get("template")))
    if adapter is None:
        default = "tuned" if place.adapter is not None else plain_name(Path(base.name).name)
        group.targets[base.fingerprint] = Target(chat=chat, sampling=usual_sampling(base.path, place.run, how.store))
        named = one.or_name(default)
        group.wanted.append(_Wanted(named=named, id=base.fingerprint[:12], target=base.fingerprint, label=base.name))
        return
    inputs = place.run.manifest["inputs"] if place.run is not None else []
    files = AdapterFiles.of(adapter, base=next((i["id"] for i in inputs if i["kind"] == "base"), ""))
    files.check_base(base.fingerprint)
    group.targets[files.key] = Target(chat=chat, sampling=usual_sampling(adapter, place.run, how.store), adapter=files)
    label = f"adapter of {base.name}" + (f", run {place.run.id[:8]}" if place.run is not None else "")
    named = one.or_name("tuned" if place.run is not None else plain_name(adapter.name))
    group.wanted.append(_Wanted(named=named, id=files.key[:12], target=files.key, label=label, adapter=adapter))
