"""What a release holds, before anything is written: every file with its hash, from an artifact or made here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from tunesmith.core.artifacts import Artifact
from tunesmith.core.records import canonical_json, digest
from tunesmith.ship.card.base import base_of
from tunesmith.ship.card.collect import Lineage, material_of
from tunesmith.ship.card.material import FACTS, Material
from tunesmith.ship.card.sections.forms import ADAPTER, MERGED, folder_of_form
from tunesmith.ship.card.write import Card, options_for, write_card
from tunesmith.ship.release.bill import bill_of_materials

__all__ = ["ADAPTER_CONFIG", "EVIDENCE", "Entry", "contents", "contents_digest", "model_files"]

ADAPTER_CONFIG = "adapter_config.json"
EVIDENCE = "writing/evidence.json"
_SPLITS = ("train", "val", "test")
_INDENT = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of a release: `source` is the file of an artifact that it is, or `content` what it holds."""

    path: str
    sha256: str
    source: Path | None = None
    content: bytes = b""


def contents(found: Lineage, forms: Sequence[str], *, name: str, with_writing: bool) -> list[Entry]:
    """Every file of a release of these forms, by path. `with_writing`: also the rows, and the evidence, which quotes them."""
    exports = [form for form in forms if form not in {ADAPTER, MERGED}]
    material = material_of(found, exports=exports)
    card = write_card(material, options_for(material, name=name, forms=forms, release=True))
    entries = [*_models(found, forms, material), *_papers(card, material)]
    entries += [_made(path, content) for path, content in material.files()]
    if found.model is not None:
        entries += [entry for entry in _taken(found.model, "", "") if entry.path.startswith(("LICENSE", "NOTICE"))]
    if with_writing and found.dataset is not None:
        rows = {f"{split}.jsonl" for split in _SPLITS}
        entries += [entry for entry in _taken(found.dataset, "", "writing/") if Path(entry.path).name in rows]
    if with_writing and found.evaluation is not None:
        entries += [entry for entry in _taken(found.evaluation, "", "writing/") if entry.path == EVIDENCE]
    bill = bill_of_materials(material, card.options.name, {entry.path: entry.sha256 for entry in entries})
    return sorted([*entries, _made("sbom.cdx.json", bill)], key=lambda entry: entry.path)


def contents_digest(files: Mapping[str, str]) -> str:
    """One hash over the paths and hashes of all files: it is part of a release's id."""
    return digest(canonical_json(dict(sorted(files.items()))))


def model_files(material: Material, forms: Sequence[str]) -> dict[str, str]:
    """Path in a release → SHA-256 that the artifact's own manifest gives, for every model file that is taken as it is."""
    of_form = {ADAPTER: ("run", "adapter/"), MERGED: ("model", "")}
    found = {}
    for form in forms:
        part, start = of_form.get(form, (form, "files/"))
        for fact in material.at(part, FACTS, "files") or []:
            path = str(fact["path"])
            if path.startswith(start) and path != f"adapter/{ADAPTER_CONFIG}":
                found[f"{folder_of_form(form)}/{path.removeprefix(start)}"] = str(fact["sha256"])
    return found


def _models(found: Lineage, forms: Sequence[str], material: Material) -> Iterator[Entry]:
    for form in forms:
        if form == ADAPTER:
            yield from (e for e in _taken(found.run, "adapter/", "adapter/") if Path(e.path).name != ADAPTER_CONFIG)
            yield _made(f"{ADAPTER}/{ADAPTER_CONFIG}", _adapter_config(found.run, material))
            if found.use is not None:
                yield from (e for e in _taken(found.use, "", f"{ADAPTER}/") if Path(e.path).name == "generation_config.json")
        elif form == MERGED and found.model is not None:
            yield from _taken(found.model, "", f"{MERGED}/")
        else:
            yield from _taken(found.exports[form], "files/", f"{folder_of_form(form)}/")


def _taken(artifact: Artifact, start: str, into: str) -> Iterator[Entry]:
    """The files of an artifact below `start`, with the hashes of its manifest."""
    for fact in artifact.manifest["files"]:
        path = str(fact["path"])
        if path.startswith(start):
            target = into + path.removeprefix(start)
            yield Entry(path=target, sha256=str(fact["sha256"]), source=artifact.path / path)


def _made(path: str, content: bytes) -> Entry:
    return Entry(path=path, sha256=hashlib.sha256(content).hexdigest(), content=content)


def _adapter_config(run: Artifact, material: Material) -> bytes:
    """peft's settings without the folder of the base on this machine.

    A base that came from the hub as it is gets its id there; any other one `./base`, which opens only what whoever runs it put
    there. A short name would be looked up on the hub, where it may belong to other people.
    """
    content = (run.path / "adapter" / ADAPTER_CONFIG).read_bytes()
    config: dict[str, Any] = orjson.loads(content)
    named = str(config.get("base_model_name_or_path") or "")
    if not Path(named).is_absolute() and not named.startswith((".", "~")):
        return content
    hub = base_of(material).hub
    from_hub = str(material.at("base", FACTS, "origin") or "").endswith("from the hub") or "/snapshots/" in named
    return orjson.dumps({**config, "base_model_name_or_path": hub if hub and from_hub else "./base"}, option=_INDENT)


def _papers(card: Card, material: Material) -> Iterator[Entry]:
    yield _made("README.md", card.text.encode())
    yield _made("card.html", card.page().encode())
    yield _made("card.json", orjson.dumps(card.as_dict(), option=_INDENT))
    if card.curves:
        yield _made("curves.svg", card.curves.replace("<svg ", '<svg style="background:#fff" ', 1).encode())
    yield _made("recipe.yaml", _recipe(material))
    environment = {
        name: {key: material.at(name, FACTS, key) for key in ("version", "libraries", "machine", "created")}
        for name in material.parts
        if material.at(name, FACTS, "libraries")
    }
    yield _made("environment.json", orjson.dumps(environment, option=_INDENT))


def _recipe(material: Material) -> bytes:
    """The recipe with every setting filled in, as the artifacts hold them; the sources are not in it."""
    wanted = (("dataset", ("build", "split", "mix")), ("run", ("base", "method", "train")), ("use", ("use",)))
    held: dict[str, Any] = {}
    for part, keys in (*wanted, ("model", ("merge",)), ("eval", ("eval", "gates"))):
        settings = material.at(part, FACTS, "settings") or {}
        held |= {key: settings[key] for key in keys if key in settings}
    text = yaml.safe_dump(held, sort_keys=False, allow_unicode=True)
    head = (
        "# The settings that this model was made with. To use them: tunesmith run --recipe recipe.yaml --source YOUR-WRITING\n"
    )
    return (head + text).encode()
