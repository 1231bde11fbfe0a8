"""From a run to the material of its card: the artifacts that belong to it, whole and verified, without the writing in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.errors import ArtifactError
from tunesmith.core.files import MANIFEST
from tunesmith.core.records import canonical_json, digest
from tunesmith.models.declared import declared_adapter
from tunesmith.models.load import safetensors_shapes, stored_types
from tunesmith.models.tuned import is_whole, tuned_folder
from tunesmith.ship.card.dataset_summary import dataset_numbers, dataset_summary
from tunesmith.ship.card.licences import UNKNOWN, recognised
from tunesmith.ship.card.material import FACTS, Material, Part
from tunesmith.ship.card.write import Options

__all__ = ["Lineage", "described_by", "export_name", "lineage", "material_of"]

_INDENT = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The artifacts that a card is about. `evaluation` is the one whose verdict counts; `earlier` came before it.

    `base` is the folder of the base with its manifest, if it is on this machine and is the one of the run.
    """

    run: Artifact
    documents: Artifact | None
    dataset: Artifact | None
    use: Artifact | None
    model: Artifact | None
    evaluation: Artifact | None
    earlier: tuple[Artifact, ...]
    exports: Mapping[str, Artifact]
    base: Artifact | None


def export_name(export: Artifact) -> str:
    """`export-gguf-q8_0`: the name of an export in a card and of its folder in a release, without the first word."""
    parts = ["export", *(str(export.numbers.get(key) or "") for key in ("form", "quant"))]
    return "-".join("".join(c if c.isalnum() or c in "._" else "_" for c in part) for part in parts if part)


def lineage(store: Store, run: str, *, evaluation: str = "") -> Lineage:
    """The artifacts of a run, by the first digits of its id or `run:latest`. `evaluation`: its id; else the newest counts.

    Raises:
        ArtifactError: no such run, an artifact that is damaged, or an id of another kind.
    """
    found = store.resolve(run)
    if found.kind != "run":
        raise ArtifactError(
            "a card is made for a training run",
            value=f"{found.kind} {found.id[:8]}",
            expected="the first digits of a run's id, or run:latest",
            hint="tunesmith show",
        )
    everything = store.all()
    dataset = _input(store, found, "dataset")
    made = [one for one in everything if found.id in _inputs(one)]
    of_run = [one for one in made if one.kind == "eval"]
    chosen = [one for one in of_run if one.id == evaluation] if evaluation else of_run[-1:]
    if evaluation and not chosen:
        raise ArtifactError(
            "the evaluation that the card names is not in this project",
            value=evaluation,
            expected=f"an evaluation of the run {found.id[:8]}",
            hint="verify the card in the project that it was made in, or in its release: tunesmith release verify DIR",
        )
    tested = [one for one in made if one.kind == "model" and (not chosen or one.id in _inputs(chosen[0]))]
    model = _whole(store, tested[-1]) if tested else None
    sources = {found.id, *([model.id] if model else [])}
    exports = {export_name(one): one for one in everything if one.kind == "export" and sources & _inputs(one)}
    return Lineage(
        run=found,
        documents=_input(store, dataset, "documents") if dataset else None,
        dataset=dataset,
        use=_newest(store, made, "use"),
        model=model,
        evaluation=_whole(store, chosen[0]) if chosen else None,
        earlier=tuple(of_run[: of_run.index(chosen[0])]) if chosen else (),
        exports={name: _whole(store, one) for name, one in exports.items()},
        base=_base(found),
    )


def material_of(found: Lineage, *, exports: Sequence[str] | None = None) -> Material:
    """What a card says of these artifacts, and nothing of the writing. `exports`: names of those to take; None: all."""
    parts = {"run": _run(found.run)}
    if found.documents is not None:
        parts["documents"] = _documents(found.documents)
    if found.dataset is not None:
        numbers, summary = dataset_numbers(found.dataset), dataset_summary(found.dataset)
        parts["dataset"] = _part(found.dataset, {"summary.json": _dumped(summary)}, numbers=numbers)
    if found.use is not None:
        parts["use"] = _part(found.use, {"use.json": (found.use.path / "use.json").read_bytes()})
    if found.model is not None:
        parts["model"] = _part(found.model, {"facts.json": _dumped(_model_facts(found.model.path))})
    if found.evaluation is not None:
        parts["eval"] = _evaluation(found.evaluation, found.earlier)
    if found.base is not None:
        kept = {key: found.base.manifest[key] for key in ("kind", "id", "origin", "package", "gguf_sha256", "files")}
        parts["base"] = Part(kind="base", id=found.base.id, files={FACTS: _dumped(kept)})
    for name, export in found.exports.items():
        if exports is None or name in exports:
            verdict = export.path / "verdict.json"
            parts[name] = _part(export, {"verdict.json": verdict.read_bytes()} if verdict.is_file() else {})
    return Material(parts=parts)


def _inputs(artifact: Artifact) -> set[str]:
    return {str(one.get("id")) for one in artifact.manifest.get("inputs", ())}


def _input(store: Store, artifact: Artifact, kind: str) -> Artifact | None:
    ids = [one["id"] for one in artifact.manifest["inputs"] if one["kind"] == kind]
    known = {one.id for one in store.all()}
    return store.resolve(ids[0]) if ids and ids[0] in known else None


def _newest(store: Store, made: Sequence[Artifact], kind: str) -> Artifact | None:
    of_kind = [one for one in made if one.kind == kind]
    return _whole(store, of_kind[-1]) if of_kind else None


def _whole(store: Store, artifact: Artifact) -> Artifact:
    """The artifact, once every file of it was compared with its manifest."""
    return store.resolve(artifact.id)


def _base(run: Artifact) -> Artifact | None:
    """The base's own manifest, where what was trained says that the base is, if its files give the fingerprint of the run's
    base."""
    tuned = tuned_folder(run.path)
    named = run.manifest["settings"]["base"] if is_whole(tuned) else declared_adapter(tuned).base
    folder = Path(str(named or ""))
    ids = [one["id"] for one in run.manifest["inputs"] if one["kind"] == "base"]
    if not folder.is_absolute() or not (folder / MANIFEST).is_file() or not ids:
        return None
    manifest = orjson.loads((folder / MANIFEST).read_bytes())
    suffixes = (".json", ".jinja", ".model", ".txt", ".safetensors")
    files = sorted((fact["path"], fact["sha256"]) for fact in manifest.get("files", ()) if fact["path"].endswith(suffixes))
    if digest(*(text for pair in files for text in pair)) != ids[0]:
        return None
    facts = {key: manifest.get(key, "") for key in ("origin", "package", "gguf_sha256")}
    return Artifact(folder, {**facts, "kind": "base", "id": ids[0], "files": manifest["files"], "numbers": {}})


def _part(artifact: Artifact, files: Mapping[str, bytes], *, numbers: Mapping[str, Any] | None = None) -> Part:
    """A part with the artifact's manifest: to the byte, unless it names a private place or `numbers` replace its own."""
    manifest = dict(artifact.manifest)
    public = {**manifest, "settings": _public(manifest["settings"]), **({} if numbers is None else {"numbers": numbers})}
    if canonical_json(public) == canonical_json(manifest):
        content = (artifact.path / MANIFEST).read_bytes()
    else:
        content = _dumped({key: value for key, value in public.items() if key != "seal"})
    return Part(kind=artifact.kind, id=artifact.id, files={FACTS: content, **files})


def _public(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without folders and addresses of this machine: of a folder its last name is left."""
    kept = {key: value for key, value in settings.items() if key not in {"bigger", "me", "sources"}}
    for key in ("base", "origin"):
        base = kept.get(key)
        if isinstance(base, str) and (Path(base).exists() or base.startswith((".", "/", "~", "\\")) or base.count("/") > 1):
            kept[key] = Path(base).name
    return kept


def _documents(documents: Artifact) -> Part:
    """Counts alone: notes and failures name files."""
    numbers = documents.numbers
    kept: dict[str, Any] = {
        key: numbers[key] for key in ("documents", "pairs", "preferences", "labelled", "words") if key in numbers
    }
    kept["failures"] = len(numbers.get("failures", ()))
    kept["left_out"] = [note for note in numbers.get("notes", ()) if str(note).endswith("left out")]
    return _part(documents, {}, numbers=kept)


def _run(run: Artifact) -> Part:
    rows = [orjson.loads(line) for line in (run.path / "metrics.jsonl").read_bytes().split(b"\n") if line.strip()]
    curves = [{key: value for key, value in row.items() if key != "samples"} for row in rows]
    files = {"metrics.jsonl": b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in curves)}
    if (timing := run.path / "timing.jsonl").is_file():
        files["timing.jsonl"] = timing.read_bytes()
    return _part(run, files)


def _evaluation(evaluation: Artifact, earlier: Sequence[Artifact]) -> Part:
    files = {name: (evaluation.path / name).read_bytes() for name in ("verdict.json", "report.json")}
    files["earlier.json"] = _dumped([_in_brief(one) for one in earlier])
    return _part(evaluation, files)


def _in_brief(evaluation: Artifact) -> dict[str, Any]:
    primary = evaluation.manifest["settings"].get("eval", {}).get("primary")
    return {"id": evaluation.id, "verdict": evaluation.numbers.get("verdict"), "primary": primary}


def _model_facts(folder: Path) -> dict[str, Any]:
    """How many weights a merged model has, how they are stored, and the licence that came with its base."""
    weights = sorted(folder.glob("*.safetensors"))
    licence = next(iter(_licence_texts(folder)), "")
    known = recognised(licence)
    return {
        "parameters": sum(_size(shape) for file in weights for _, shape in safetensors_shapes(file).values()),
        "stored": dict(stored_types(weights)),
        "licence": known.id if known is not UNKNOWN else None,
    }


def _licence_texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("LICEN[CS]E*")):
        yield path.read_text(encoding="utf-8", errors="replace")


def _size(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value, option=_INDENT | orjson.OPT_SORT_KEYS)


def described_by(store: Store, options: Options) -> Material:
    """The material that a card was made from, by the options that the card holds.

    Raises:
        ArtifactError: an artifact, an export or the base that the card describes is not here.
    """
    found = lineage(store, options.run, evaluation=options.evaluation)
    named = [form for form in options.forms if form not in {"adapter", "merged"}]
    gone = [form for form in named if form not in found.exports]
    if "merged" in options.forms and found.model is None:
        gone.append("merged")
    if gone or (options.base and found.base is None):
        raise ArtifactError(
            "what the card describes is not on this machine",
            value=", ".join(gone) or f"the base {found.run.manifest['settings'].get('base')}",
            expected="every form of the card in the project, and its base where the card was made with it",
            hint="verify the card where it was made, or in its release: tunesmith release verify DIR",
        )
    kept = found if options.evaluation else replace(found, evaluation=None, earlier=())
    return material_of(kept if options.base else replace(kept, base=None), exports=named)
