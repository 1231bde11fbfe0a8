"""From a reference or a folder to the files that a push would send: which artifact, which kind, what stays here and why.

Chosen by what a file holds, not by its name. Pickles, hidden files and rows of data in a model never leave in silence: each is
listed with the reason.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.artifacts import Store
from tunesmith.core.errors import ArtifactError
from tunesmith.core.files import MANIFEST, checked_name, damage
from tunesmith.models.tuned import tuned_folder
from tunesmith.ship.hub.records import Kind, LeftOut

__all__ = ["ROWS", "Chosen", "choose", "is_pickled"]

ROWS = re.compile(r"\.(?:jsonl|ndjson|csv|tsv|parquet|arrow)(?:\.gz)?$", re.IGNORECASE)
_PARTS = {"run": "adapter", "model": "", "dataset": "", "export": "files", "release": ""}  # of an artifact, what is published
_KEPT_HIDDEN = {".gitattributes"}
_PICKLED = "it is pickled, which can run code when opened; never sent"
_HIDDEN = "hidden files stay here"
_MANIFEST = "the project's own record; names folders and the machine"
_DATA = "rows of data; --with-data sends them too"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a push would send: path in the repository → file here. `settings`: of the artifact, empty for a plain folder.

    `origin` becomes public with the commit: an artifact's id, or a name without the folders above it.
    """

    kind: Kind
    origin: str
    files: Mapping[str, Path]
    left_out: tuple[LeftOut, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def choose(reference: str, *, project: Path, with_data: bool = False) -> Chosen:
    """The files behind a reference (`run:latest`, first digits of an id), a folder, or one file.

    `with_data`: rows of data are part of a model's push. ArtifactError for an artifact that is missing, damaged or not for
    publishing, a folder of no known kind, and links that lead out of the folder.
    """
    path = Path(reference).expanduser()
    if path.is_file():
        return _one_file(path)
    if path.is_dir():
        own = _own_manifest(path)
        if own is None:
            return _chosen(path, path.resolve().name, with_data=with_data)
        manifest: Mapping[str, Any] = own
    else:
        artifact = Store(project / ".tunesmith").resolve(reference)
        path, manifest = artifact.path, artifact.manifest
    kind, origin = str(manifest["kind"]), f"{manifest['kind']} {str(manifest['id'])[:8]}"
    if kind not in _PARTS:
        raise ArtifactError(
            "an artifact of this kind is not published",
            value=origin,
            expected=f"one of {', '.join(_PARTS)}",
            hint="tunesmith show",
        )
    root = tuned_folder(path) if kind == "run" else path / _PARTS[kind]
    settings = manifest.get("settings") or {}
    return _chosen(root, origin, with_data=with_data, release=kind == "release", settings=settings)


def is_pickled(path: Path) -> bool:
    """Whether a file holds a pickle, by its bytes: of any protocol from 2 on, alone or inside of a zip as torch writes it."""
    with path.open("rb") as file:
        head = file.read(4)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if head != b"PK\x03\x04":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False  # a damaged archive: no text, which the search reports


def _own_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder that Tunesmith wrote; None for any other. ArtifactError if a file does not match it."""
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    if not isinstance(manifest, dict) or not {"kind", "id", "files", "seal"} <= manifest.keys():
        return None
    if trouble := damage(folder):
        raise ArtifactError(
            "this folder is damaged: a file does not match its manifest",
            value=f"{folder}: {trouble}",
            expected="files as they were written",
            hint="run the command that made it again; `tunesmith show` lists the artifacts",
        )
    return manifest


def _one_file(path: Path) -> Chosen:
    with path.open("rb") as file:
        is_gguf = file.read(4) == b"GGUF"
    if is_gguf or (ROWS.search(path.name) and not is_pickled(path)):
        return Chosen(kind=Kind.GGUF if is_gguf else Kind.DATASET, origin=path.name, files={path.name: path})
    raise ArtifactError(
        "a single file of this kind is not published",
        value=str(path),
        expected="a GGUF file, a file of rows, or a folder",
        hint="name the folder that it is in",
    )


def _chosen(
    root: Path, origin: str, *, with_data: bool, release: bool = False, settings: Mapping[str, Any] | None = None
) -> Chosen:
    found = _plain_files(root)
    kind = Kind.RELEASE if release else _kind_of(root, found)
    files: dict[str, Path] = {}
    left_out = []
    for name, path in found.items():
        reason = _reason_to_stay(name, path, kind, with_data=with_data)
        if reason:
            left_out.append(LeftOut(path=name, reason=reason))
        else:
            files[name] = path
    if release and left_out:
        raise ArtifactError(
            "a release is sent whole, and a part of it may not leave",
            value=f"{left_out[0].path}: {left_out[0].reason}",
            expected="model files, card and evidence alone",
            hint="make the release again without it, or add --with-data if it is data that you want to publish",
        )
    return Chosen(kind=kind, origin=origin, files=files, left_out=tuple(left_out), settings=settings or {})


def _plain_files(root: Path) -> dict[str, Path]:
    """Name → file of everything below a folder. ArtifactError for links out of it, and names that leave it."""
    found = {}
    real = root.resolve()
    for path in sorted(root.rglob("*")) if root.is_dir() else []:
        name = path.relative_to(root).as_posix()
        if trouble := _unfit(name, path, real):
            raise ArtifactError(
                trouble,
                value=name,
                expected="files with plain names that are in the folder themselves",
                hint="copy the file in place of a link, or move it out of the folder",
            )
        if path.is_file():
            found[name] = path
    return found


def _unfit(name: str, path: Path, root: Path) -> str:
    if not path.resolve().is_relative_to(root):
        return "a link leads out of the folder"
    if not path.is_file() and not path.is_dir():
        return "neither a file nor a folder"
    try:
        checked_name(name).as_posix().encode()
    except ValueError:  # also a name that is not UTF-8
        return "a file has a name that the hub cannot take"
    return ""


def _kind_of(root: Path, found: Mapping[str, Path]) -> Kind:
    top = [name for name in found if "/" not in name]
    if "adapter_config.json" in top:
        return Kind.ADAPTER
    if "config.json" in top and any(name.endswith((".safetensors", ".safetensors.index.json")) for name in top):
        return Kind.MODEL
    if any(name.lower().endswith(".gguf") for name in top):
        return Kind.GGUF
    pickled = next((name for name in top if is_pickled(found[name])), "")
    if not pickled and any(ROWS.search(name) for name in found):
        return Kind.DATASET
    raise ArtifactError(
        "the weights are pickled, which can run code when opened" if pickled else "nothing here that can be published",
        value=pickled or str(root),
        expected="an adapter or model in safetensors, GGUF files, or a dataset of rows",
        hint="convert the weights to safetensors first" if pickled else "tunesmith show   lists what this project has",
    )


def _reason_to_stay(name: str, path: Path, kind: Kind, *, with_data: bool) -> str:
    parts = name.split("/")
    if any(part.startswith(".") and part not in _KEPT_HIDDEN for part in parts) or "__pycache__" in parts:
        return _HIDDEN
    if name == MANIFEST and kind is not Kind.RELEASE:
        return _MANIFEST
    if is_pickled(path):
        return _PICKLED
    if kind is not Kind.DATASET and not with_data and ROWS.search(name):
        return _DATA
    return ""
