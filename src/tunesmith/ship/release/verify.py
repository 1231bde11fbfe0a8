"""Checking a release from its folder alone: no network, no project, no base.

Hashes prove that nothing changed since the release was made; a signature proves who made it. The card is made again from the
files it was made from, and the verdict is computed again where the evidence is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.errors import ArtifactError, TunesmithError
from tunesmith.core.files import MANIFEST, checked_name, seal_holds, sha256_file
from tunesmith.core.records import canonical_json, digest
from tunesmith.ship.card.material import FACTS, FOLDER, Material, read_material
from tunesmith.ship.card.verify import drift, number_drift, same_version
from tunesmith.ship.release.contents import EVIDENCE, contents_digest, model_files
from tunesmith.ship.release.make import KIND
from tunesmith.ship.release.signature import SIGNATURE, signature_fault

__all__ = ["Checked", "Rejudge", "verify_folder"]

Rejudge = Callable[[Path, Mapping[str, Any], bytes, bytes], list[str]]
"""Evidence file, settings of the evaluation, its `verdict.json` and `report.json` → what comes out otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A release that was checked. `faults`: all that is wrong, each naming its file. `notes`: what could not be checked.

    `recomputed`: whether the verdict was computed again from evidence in the release. `signed`: whether a signature was checked
    against a key; None if there is one and no key was given.
    """

    id: str
    verdict: str
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    recomputed: bool
    signed: bool | None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify_folder(release: Path, *, key: Path | None = None, rejudge: Rejudge) -> Checked:
    """Check every hash, name, number and signature of the release in a folder. `key`: the public key that must have signed it.

    Raises:
        ArtifactError: the folder holds no release at all, or the key cannot be read.
    """
    raw, manifest = _manifest(release)
    faults = [] if "seal" in manifest and seal_holds(raw) else [f"{MANIFEST} does not match its seal"]
    hashes = _hashes(release, manifest, faults)
    faults += _foreign(release, manifest)
    faults += _identity(manifest)
    notes: list[str] = []
    recomputed = False
    verdict = "not measured"
    try:
        material = read_material(release)
        verdict = str(material.at("eval", "verdict.json", "verdict") or verdict)
        faults += [*_provenance(material, manifest, hashes), *_verdict(material), *_card(release, material, notes)]
        if (release / EVIDENCE).is_file() and "eval" in material.parts:
            part = material.parts["eval"]
            faults += rejudge(
                release / EVIDENCE, part.at(FACTS, "settings"), part.files["verdict.json"], part.files["report.json"]
            )
            recomputed = True
        else:
            notes.append("the verdict was not computed again: the evidence quotes the writing, and is not in this release")
    except (TunesmithError, OSError, ValueError, KeyError, TypeError) as error:
        faults.append(f"what the card was made from cannot be read: {' '.join(str(error).split())[:300]}")
    signed = _signature(release, key, faults, notes)
    return Checked(
        id=str(manifest.get("id")),
        verdict=verdict,
        faults=tuple(dict.fromkeys(faults)),
        notes=tuple(notes),
        recomputed=recomputed,
        signed=signed,
    )


def _manifest(release: Path) -> tuple[bytes, dict[str, Any]]:
    try:
        raw = (release / MANIFEST).read_bytes()
        manifest: dict[str, Any] = orjson.loads(raw)
        if manifest["kind"] != KIND:
            raise ValueError(f"it is the manifest of a {manifest['kind']}")
        for fact in manifest["files"]:
            checked_name(str(fact["path"]))
            _ = fact["sha256"], fact["size"]
        return raw, manifest
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            "this folder holds no release that can be read",
            value=str(release),
            expected=f"a folder that `tunesmith release` wrote ({error})",
            hint="tunesmith path release:latest",
        ) from error


def _hashes(release: Path, manifest: Mapping[str, Any], faults: list[str]) -> dict[str, str]:
    """Path → SHA-256 of the files that are there; what is missing or changed is added to `faults`."""
    found: dict[str, str] = {}
    for fact in manifest["files"]:
        name = str(fact["path"])
        path = release / checked_name(name)
        if path.is_symlink():
            faults.append(f"{name} is a link to another place, where a file belongs")
        elif not path.is_file():
            faults.append(f"{name} is missing")
        elif path.stat().st_size != fact["size"] or (found.setdefault(name, sha256_file(path))) != fact["sha256"]:
            faults.append(f"{name} is not as it was released")
    return found


def _foreign(release: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Files that are not of the release: one more file can make a loader run another model."""
    known = {str(fact["path"]) for fact in manifest["files"]} | {MANIFEST, SIGNATURE}
    for path in sorted(release.rglob("*")):
        name = path.relative_to(release).as_posix()
        if name not in known and (path.is_symlink() or not path.is_dir()):
            yield f"{name} does not belong to this release"


def _identity(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Whether the id is the hash of what is there."""
    known = {key: manifest.get(key) for key in ("kind", "inputs", "settings", "version")}
    if digest(canonical_json(known)) != manifest.get("id"):
        yield f"the id in {MANIFEST} is not that of its inputs and settings"
    listed = {str(fact["path"]): str(fact["sha256"]) for fact in manifest["files"]}
    if contents_digest(listed) != (manifest.get("settings") or {}).get("contents"):
        yield f"the files in {MANIFEST} are not those that the id was made from"


def _provenance(material: Material, manifest: Mapping[str, Any], hashes: Mapping[str, str]) -> Iterator[str]:
    """Whether the parts are the artifacts that went in, and the model files are theirs."""
    inputs = {(one["kind"], one["id"]) for one in manifest["inputs"]}
    for name, part in material.parts.items():
        if part.kind != "base" and (part.kind, part.id) not in inputs:
            yield f"{FOLDER}/{name} describes an artifact that did not go into this release"
        if part.at(FACTS, "seal") is not None and not seal_holds(part.files[FACTS]):
            yield f"{FOLDER}/{name}/{FACTS} does not match its seal"
        facts = {str(fact["path"]): fact["sha256"] for fact in part.at(FACTS, "files") or []}
        for file in ("verdict.json", "report.json", "use.json", "timing.jsonl"):
            held = part.files.get(file)
            if held is not None and hashlib.sha256(held).hexdigest() != facts.get(file):
                yield f"{FOLDER}/{name}/{file} is not the file that the {part.kind} wrote"
    for path, expected in model_files(material, (manifest.get("settings") or {}).get("forms") or []).items():
        if path not in hashes:
            yield f"{path} is missing"
        elif hashes[path] != expected:
            yield f"{path} is not the file that was evaluated"


def _verdict(material: Material) -> Iterator[str]:
    """Whether the verdict follows from its gates, and the report says the same."""
    held = material.at("eval", "verdict.json")
    if held is None:
        return
    required = [gate["state"] for gate in held["gates"] if gate["required"]]
    follows = "DON'T SHIP" if "fail" in required else "CAN'T TELL" if "not measured" in required else "SHIP"
    if held["verdict"] != follows:
        yield f"{FOLDER}/eval/verdict.json says {held['verdict']}, and its own gates give {follows}"
    report = material.at("eval", "report.json") or {}
    if any(report.get(key) != held[key] for key in ("verdict", "gates", "sentence")):
        yield f"{FOLDER}/eval/report.json does not say what verdict.json says"


def _card(release: Path, material: Material, notes: list[str]) -> Iterator[str]:
    text = (release / "README.md").read_text(encoding="utf-8")
    if same_version(text):
        yield from (f"README.md: {one.text()}" for one in drift(text, material))
        return
    notes.append("the card was written by another version of Tunesmith: its numbers were compared, not its words")
    listed = orjson.loads((release / "card.json").read_bytes())
    yield from (f"README.md: {wrong}" for wrong in number_drift(listed, text, material))


def _signature(release: Path, key: Path | None, faults: list[str], notes: list[str]) -> bool | None:
    if key is not None:
        fault = signature_fault(release, key)
        faults += [fault] if fault else []
        return not fault
    if (release / SIGNATURE).is_file():
        notes.append(f"{SIGNATURE} was not checked: --key PUBLIC-KEY checks it")
        return None
    notes.append("not signed: the hashes show that nothing changed, not who made it")
    return False
