"""Deployment files made from models: what they hold is copied next to them, and every number comes from it."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tunesmith.core.artifacts import Store
from tunesmith.core.errors import EngineError, ModelError
from tunesmith.core.files import MANIFEST, replace_file, storage_errors
from tunesmith.models.load import find_base
from tunesmith.models.use import read_use
from tunesmith.serve.deploying.templates import TEMPLATES, filled
from tunesmith.serve.loading.asked import Named
from tunesmith.serve.registry import NAME, plain_name
from tunesmith.systems.placing import Place, place_of

__all__ = ["Deployment", "write_deployment"]

_PAUSE_S, _DRAIN_S, _SPARE_S = 5, 60, 10
_MIB, _PROGRAM_MIB, _CACHE_SHARE = 2**20, 1536, 1.5  # the program itself, and weights in float32 with room for keys and values


@dataclass(frozen=True, slots=True)
class Deployment:
    """What was written. `memory_mib`: the limit in the files, an estimate from the weights' size."""

    files: tuple[Path, ...]
    models: tuple[str, ...]
    memory_mib: int


def write_deployment(
    references: Sequence[Named], target: str, out: Path, *, name: str, version: str, store: Store
) -> Deployment:
    """Write the files of a target with the models that they serve into the folder `out`, which must be new or empty.

    Raises:
        EngineError: an unknown target, a name that cannot be one, a folder that holds something.
        ModelError: a model that is not a whole one.
    """
    _check(target, out, name)
    with storage_errors("writing deployment files", out):
        (out / "models").mkdir(parents=True, exist_ok=True)
        served, weights = [], 0
        for one in references:
            place = place_of(one.reference, store)
            label = one.name or plain_name(Path(place.model).name)
            weights += _copy(one.reference, place, out / "models" / label, store)
            served.append(label)
        memory = _PROGRAM_MIB + math.ceil(_CACHE_SHARE * weights / _MIB)
        texts = filled(target, _values(name, version, served, memory, weights))
        for file, text in texts.items():
            replace_file(out / file, text.encode())
    return Deployment(tuple(out / file for file in texts), tuple(served), memory)


def _values(name: str, version: str, served: Sequence[str], memory_mib: int, weights: int) -> dict[str, str]:
    flags = ["--host", "0.0.0.0", "--port", "8000", "--pause", str(_PAUSE_S), "--drain", str(_DRAIN_S)]
    command = [*(f"{one}=/models/{one}" for one in served), *flags]
    hosts = ["--allow-host", name, "--allow-host", f"{name}.default.svc.cluster.local"]
    anywhere = ["--allow-host", "*"]  # behind the platform's own address, with a key

    def listed(words: Sequence[str]) -> str:
        return ", ".join(orjson.dumps(word).decode() for word in words)

    on_loopback = [f"{one}=/srv/{name}/models/{one}" for one in served]
    return {
        "name": name,
        "version": version,
        "models": ", ".join(served),
        "grace": str(_PAUSE_S + _DRAIN_S + _SPARE_S),
        "memory_mib": str(memory_mib),
        "memory_bytes": str(memory_mib * _MIB),
        "disk_gb": str(10 + 2 * round(weights / 1e9)),
        "docker_command": listed(command),
        "kubernetes_command": listed([*command, *hosts]),
        "modal_command": listed([*command, *anywhere]),
        "ray_models": ", ".join(f'f"{one}={{HERE}}/models/{one}"' for one in served),
        "runpod_command": " ".join([*command, *anywhere]),
        "unit_command": " ".join([*on_loopback, "--port", "8000", "--drain", str(_DRAIN_S)]),
    }


def _check(target: str, out: Path, name: str) -> None:
    if target not in TEMPLATES:
        raise EngineError(
            "there are no files for this target",
            value=target,
            expected=", ".join(TEMPLATES),
            hint="tunesmith deploy … --to docker",
        )
    if not NAME.fullmatch(name) or "." in name or "_" in name:
        raise EngineError(
            "this cannot be the name of a service",
            value=name,
            expected="lower-case letters, digits and `-`",
            hint="--name my-model",
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EngineError(
            "the folder is not empty", value=str(out), expected="a new or empty folder", hint="give another one: --out FOLDER"
        )


def _copy(reference: str, place: Place, into: Path, store: Store) -> int:
    """Copy a model's folder, with the settings that it was tested under. Returns the bytes of its weights in float32."""
    options = place.run.manifest["settings"].get("template") if place.run is not None else None
    if place.adapter is not None or place.gguf is not None or options:
        raise ModelError(
            "only whole models can be deployed from here" if not options else "its template's options are not in its folder",
            value=reference,
            expected="a merged model, a release with one, or a model folder",
            hint="tunesmith merge   then   tunesmith deploy model:latest --to docker",
        )
    base = find_base(place.model)
    into.mkdir()
    for file in sorted(base.path.iterdir()):
        if file.is_file() and file.name != MANIFEST:
            _link(file, into / file.name)
    if place.run is not None:
        run = place.run.id
        uses = [a for a in store.all() if a.kind == "use" and run in {i["id"] for i in a.manifest["inputs"]}]
        if uses:
            sampling = read_use(uses[-1].path / "use.json").sampling
            known = {name: getattr(sampling, name) for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")}
            replace_file(into / "generation_config.json", orjson.dumps({"do_sample": sampling.temperature > 0, **known}))
    return sum(_float32_bytes(file) for file in base.weights)


def _float32_bytes(file: Path) -> int:
    from safetensors import safe_open

    with safe_open(file, "np") as opened:
        shapes = [opened.get_slice(name).get_shape() for name in opened.keys()]  # noqa: SIM118 (not a mapping)
    total = 0
    for shape in shapes:
        count = 4
        for size in shape:
            count *= size
        total += count
    return total


def _link(file: Path, to: Path) -> None:
    """The same bytes without a copy where the disk allows it."""
    try:
        os.link(file.resolve(), to)
    except OSError:
        shutil.copyfile(file, to)
