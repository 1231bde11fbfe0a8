"""Where the files of a reference are: which base, what was trained from it, and in which run. Nothing is opened here."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import ArtifactError, EvaluationError, ModelError
from tunesmith.core.files import MANIFEST, damage, verify
from tunesmith.models.declared import declared_adapter
from tunesmith.models.foreign_adapters import MLX, origin_of
from tunesmith.models.load import BaseFolder
from tunesmith.models.tuned import tuned_folder

__all__ = ["Place", "check_base", "place_of"]

_ADDRESS = re.compile(r"https?://")
_ARTIFACT = re.compile(r"[a-z_]+:latest|(?:run|model|export|release):[a-z][a-z0-9_-]*|[0-9a-f]{4,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the files of a reference are: a model folder and what was trained from it (`adapter`), or a GGUF file and a GGUF
    adapter. Of a model behind an address, `url` and the name it has there (`model`). `run`: the artifact it was trained in."""

    model: str
    adapter: Path | None = None
    gguf: Path | None = None
    url: str = ""
    run: Artifact | None = None


def place_of(reference: str, store: Store) -> Place:
    """The files behind a reference, or the address.

    Raises:
        ArtifactError: no such artifact, or one whose files are not as they were written.
        ModelError: a file or folder that is not there, or an adapter that names no base.
        EvaluationError: an artifact that is not a model.
    """
    if _ADDRESS.match(reference):
        url, _, served = reference.partition("#")
        return Place(model=served, url=url)
    path = Path(reference).expanduser()
    if _ARTIFACT.fullmatch(reference) and not path.exists():
        return _of_artifact(store.resolve(reference), store)
    base, plus, adapter = reference.rpartition("+")
    if _is_gguf(reference):
        if plus and _is_gguf(base) and not path.exists():
            return Place(model=base, gguf=_file(Path(base).expanduser()), adapter=_file(Path(adapter).expanduser()))
        return Place(model=reference, gguf=_file(path))
    if plus and base and not path.exists():
        return Place(model=base, adapter=_whole(Path(adapter).expanduser()), run=_run_of(Path(adapter).expanduser()))
    if path.is_dir():
        return _place_of_folder(_whole(path))
    return Place(model=reference)


def _of_artifact(found: Artifact, store: Store) -> Place:
    if found.kind == "run":
        return Place(model=_base_of(found), adapter=tuned_folder(found.path), run=found)
    if found.kind == "export":
        return _of_export(found, store)
    if found.kind == "release":
        return _of_release(found, store)
    if found.kind == "model":
        return Place(model=str(found.path), run=_trained_in(found, store))
    raise EvaluationError(
        "this artifact is not a model",
        value=f"{found.kind} {found.id[:8]}",
        expected="a run (base and adapter), a merged model, an export or a release",
        hint="tunesmith show   lists the artifacts of the project",
    )


def _base_of(run: Artifact) -> str:
    """What opens the base of a run: its name, or the merged model of the project that it began from."""
    return Store(run.path.parent.parent).place_of(str(run.manifest["settings"]["base"]))


def _of_export(found: Artifact, store: Store) -> Place:
    """What an export ships: its GGUF file, which answers as its run's model does, or its folder."""
    files = found.path / "files"
    models = sorted(files.rglob("*.gguf"))
    run = _trained_in(found, store)
    if models:
        return Place(model=str(models[0]), gguf=models[0], run=run)
    place = _place_of_folder(files)
    return replace(place, run=place.run or run)


def _trained_in(found: Artifact, store: Store) -> Artifact | None:
    """The run that an artifact was made from."""
    trained = next((i["id"] for i in found.manifest["inputs"] if i["kind"] == "run"), "")
    return store.find("run", trained) if trained else None


def _of_release(found: Artifact, store: Store) -> Place:
    """A release by what opens alone: its merged folder, else its GGUF file, else its adapter on the base of its run."""
    run = _trained_in(found, store)
    if (merged := found.path / "merged").is_dir():
        return Place(model=str(merged), run=run)
    if files := sorted(found.path.rglob("*.gguf")):
        return Place(model=str(files[0]), gguf=files[0], run=run)
    if run is not None:
        return Place(model=_base_of(run), adapter=found.path / "adapter", run=run)
    return _adapter_place(found.path / "adapter")


def _place_of_folder(path: Path) -> Place:
    inner = tuned_folder(path)
    if (path / "config.json").is_file() or not inner.is_dir():
        inner = path
    of_a_run = (inner / "adapter_config.json").is_file() or _run_of(inner) is not None
    return _adapter_place(inner) if of_a_run else Place(model=str(path))


def _is_gguf(name: str) -> bool:
    return name.lower().endswith(".gguf")


def _file(path: Path) -> Path:
    """The file, if it is there and as its folder's manifest lists it."""
    if not path.is_file():
        raise ModelError(
            "there is no such GGUF file", value=str(path), expected="a file that exists", hint="check the path, or export one"
        )
    _whole(path.parent)
    return path


def _adapter_place(folder: Path) -> Place:
    """What was trained in a folder, on the base of its run or the base that an adapter names."""
    if (run := _run_of(folder)) is not None:
        return Place(model=_base_of(run), adapter=folder, run=run)
    named = origin.base if (origin := origin_of(folder)).maker == MLX else declared_adapter(folder).base
    if not named or ".." in Path(named).parts:
        raise ModelError(
            "the adapter does not name a base that can be opened",
            value=named or "no name",
            expected="a hub id or the path of a folder in base_model_name_or_path, without `..`",
            hint=f"name the base yourself: BASE+{folder}",
        )
    return Place(model=named, adapter=folder)


def _run_of(folder: Path) -> Artifact | None:
    """The run that an adapter is part of, if it is still where it was trained."""
    manifest = verify(folder.parent)
    is_run = manifest is not None and manifest.get("kind") == "run"
    return Artifact(folder.parent, manifest) if is_run and manifest is not None else None


def _whole(folder: Path) -> Path:
    """The folder, if every file that its manifest lists is as it was written. ArtifactError otherwise."""
    for place in (folder, folder.parent):
        if (place / MANIFEST).is_file() and (wrong := damage(place)):
            raise ArtifactError(
                "files have changed since they were written",
                value=f"{place}: {wrong}",
                expected="the bytes that its manifest lists",
                hint="copy the folder again from where it was made, or make it again: tunesmith run",
            )
    return folder


def check_base(folder: BaseFolder, place: Place) -> None:
    """ModelError if the run of the adapter says that it was trained on other weights."""
    inputs = [] if place.run is None else place.run.manifest["inputs"]
    trained_on = next((i["id"] for i in inputs if i["kind"] == "base"), folder.fingerprint)
    if trained_on != folder.fingerprint:
        raise ModelError(
            "the adapter was trained on another base",
            value=f"{folder.name}, fingerprint {folder.fingerprint[:8]}",
            expected=f"the base with fingerprint {trained_on[:8]}",
            hint="give the base of the run, or train again on this one: tunesmith run",
        )
