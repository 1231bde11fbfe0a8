"""References to models: each becomes a version in the registry, those of one base share one engine.

| reference | engine |
|---|---|
| a run, an adapter's folder, `BASE+ADAPTER` | embedded; the base answers under its own name too |
| a base, a merged model, a model folder, a release | embedded |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import ModelError
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.models.chat import Chat, open_chat
from tunesmith.models.continuous.generator import Capacity
from tunesmith.models.generation.requests import Sampling
from tunesmith.models.load import BaseFolder, StoredType, find_base, load_model
from tunesmith.models.memory import free_bytes
from tunesmith.models.tuned import is_whole
from tunesmith.models.use import read_use
from tunesmith.serve.engines.adapter_files import AdapterFiles
from tunesmith.serve.engines.embedded import Embedded, Target
from tunesmith.serve.parity import check_prompts, own_folder, own_ids
from tunesmith.serve.registry import Registry, Version, plain_name
from tunesmith.systems.placing import Place, check_base, place_of

__all__ = ["Loading", "Named", "load_all", "named"]

_NAMED = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})(?:@([a-z0-9][a-z0-9._-]{0,63}))?=(.+)", re.DOTALL)
_PIECE_TOKENS = {"cpu": 256, "cuda": 2048}
_SHARE = 4  # of the free memory, one in so many bytes may hold keys and values in work; half as many those of the prefix cache


@dataclass(frozen=True, slots=True)
class Named:
    """A reference with the name that it is served under (empty: one is made) and an alias of its version."""

    reference: str
    name: str = ""
    alias: str = ""


def named(text: str) -> Named:
    """`NAME=REFERENCE`, `NAME@ALIAS=REFERENCE` or a reference alone."""
    match = _NAMED.fullmatch(text)
    return Named(text) if match is None else Named(match[3], match[1], match[2] or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How models are opened. `rows`: answers at once in each embedded engine; `most_adapters` in memory; `context`: tokens at
    most, 0 for the model's own; `preload`: adapters are read at the start, not when they are first asked for."""

    store: Store
    precision: StoredType = "float32"
    rows: int = 32
    most_adapters: int = 16
    context: int = 0
    preload: bool = True
    reporter: Reporter = field(default_factory=SilentReporter)


@dataclass(slots=True)
class _Group:
    """A base, and what is served on it."""

    base: BaseFolder
    targets: dict[str, Target] = field(default_factory=dict)
    versions: list[tuple[Named, str, str, str, Path | None]] = field(default_factory=list)  # named, id, target, label, adapter


async def load_all(references: Sequence[Named], how: Loading, registry: Registry) -> list[ModelError]:
    """Put every reference into the registry. Models whose prompts are read otherwise are left out and returned.

    Raises what opening a reference raises (ArtifactError, ModelError, EvaluationError, EngineError).
    """
    groups: dict[str, _Group] = {}
    for one in references:
        _place(one, place_of(one.reference, how.store), groups, how)
    refused: list[ModelError] = []
    for group in groups.values():
        refused += await _open(group, how, registry)
    return refused


def _place(one: Named, place: Place, groups: dict[str, _Group], how: Loading) -> None:
    """Sort a reference to its base, checked as far as can be without opening weights."""
    if place.adapter is not None and is_whole(place.adapter):
        check_base(find_base(place.model, reporter=how.reporter), place)
        base = find_base(str(place.adapter))
    else:
        base = find_base(place.model, reporter=how.reporter)
        check_base(base, place)
    group = groups.setdefault(base.fingerprint, _Group(base))
    options = None if place.run is None else place.run.manifest["settings"].get("template")
    chat = _shared_chat(group, open_chat(base, options))
    if place.adapter is None or is_whole(place.adapter):
        default = "tuned" if place.adapter is not None else plain_name(Path(base.name).name if base.name else "base")
        target = Target(chat=chat, sampling=_sampling(base.path, place.run, how.store))
        group.targets[base.fingerprint] = target
        group.versions.append((_with_name(one, default), base.fingerprint[:12], base.fingerprint, base.name, None))
        return
    trained_on = next((i["id"] for i in place.run.manifest["inputs"] if i["kind"] == "base"), "") if place.run else ""
    files = AdapterFiles.of(place.adapter, base=trained_on)
    files.check_base(base.fingerprint)
    sampling = _sampling(place.adapter, place.run, how.store)
    group.targets[files.key] = Target(chat=chat, sampling=sampling, adapter=files)
    default = "tuned" if place.run is not None else plain_name(place.adapter.name)
    label = f"adapter of {base.name}" + (f", run {place.run.id[:8]}" if place.run is not None else "")
    group.versions.append((_with_name(one, default), files.key[:12], files.key, label, place.adapter))


def _with_name(one: Named, default: str) -> Named:
    return one if one.name else Named(one.reference, default, one.alias)


def _shared_chat(group: _Group, chat: Chat) -> Chat:
    """One object for each chat format of a base: what is derived from it is made once."""
    return next((one.chat for one in group.targets.values() if one.chat.fingerprint == chat.fingerprint), chat)


async def _open(group: _Group, how: Loading, registry: Registry) -> list[ModelError]:
    base = group.base
    if base.fingerprint not in group.targets:
        chat = _shared_chat(group, open_chat(base))
        group.targets[base.fingerprint] = Target(chat=chat, sampling=_sampling(base.path, None, how.store))
        taken = {one.name for one, *_ in group.versions} | set(registry.names())
        own = plain_name(Path(base.name).name)
        one = Named(base.name, own if own not in taken else f"base-{base.fingerprint[:8]}")
        group.versions.append((one, base.fingerprint[:12], base.fingerprint, base.name, None))
    model = load_model(base, how.precision)
    device = model.device
    free = free_bytes(device)
    capacity = Capacity(
        rows=how.rows,
        memory_bytes=free // _SHARE,
        prefix_bytes=free // (2 * _SHARE),
        piece_tokens=_PIECE_TOKENS.get(device.type, 512),
    )
    engine = Embedded(
        model,
        capacity,
        group.targets,
        base=base.fingerprint,
        context=min(base.context, how.context or base.context),
        most_adapters=how.most_adapters,
    )
    refused = []
    for one, id, target, label, adapter in group.versions:
        chat = group.targets[target].chat
        try:
            found = await check_prompts(engine, target, chat, own_ids(own_folder(base.path, adapter), chat), name=one.name)
        except ModelError as error:
            refused.append(error)
            continue
        if how.preload and group.targets[target].adapter is not None and len(group.targets) - 1 <= how.most_adapters:
            await engine.prepare(target)
        version = Version(
            name=one.name,
            id=id,
            engine=engine,
            target=target,
            label=label,
            parity=found,
            base=base.name if adapter is not None else "",
        )
        registry.add(version, *([one.alias] if one.alias else []))
    return refused


def _sampling(folder: Path, run: Artifact | None, store: Store) -> Sampling:
    """The settings under which a model was tested: those of its run, or of the generation_config.json beside it; without any,
    OpenAI's own default, temperature 1."""
    if run is not None:
        uses = [a for a in store.all() if a.kind == "use" and run.id in {i["id"] for i in a.manifest["inputs"]}]
        if uses:
            return read_use(uses[-1].path / "use.json").sampling
    file = folder / "generation_config.json"
    settings: dict[str, Any] = orjson.loads(file.read_bytes()) if file.is_file() else {}
    penalty = float(settings.get("repetition_penalty") or 1.0)
    if settings.get("do_sample") is False:
        return Sampling(repetition_penalty=penalty)
    if not settings.get("do_sample"):
        return Sampling(temperature=1.0, repetition_penalty=penalty)
    return Sampling(
        temperature=float(settings.get("temperature") or 1.0),
        top_p=float(settings.get("top_p") or 1.0),
        top_k=int(settings.get("top_k") or 0),
        min_p=float(settings.get("min_p") or 0.0),
        repetition_penalty=penalty,
    )
