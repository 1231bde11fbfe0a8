"""A release proves itself from its folder alone; whatever is changed, added, swapped or missing is named."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from project_fakes import SECRET, TUNED_WELL, TUNED_WORSE, add_export, make_project

import tunesmith
from tunesmith.cli.main import main
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import ArtifactError, BlockedError, StorageError
from tunesmith.pipeline.recipe import Recipe


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished project with an export. Not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    add_export(make_project(folder))
    return folder


@pytest.fixture(scope="module")
def released(project: Path) -> Path:
    return tunesmith.release(project=project).path


@pytest.fixture
def moved(released: Path, tmp_path: Path) -> Path:
    """The release on another machine: nothing of the project is there."""
    return Path(shutil.copytree(released, tmp_path / "downloaded"))


def faults(folder: Path) -> str:
    found = tunesmith.verify_release(folder)
    assert found.ok is not bool(found.faults)
    return "\n".join(found.faults)


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


def sealed_again(folder: Path) -> None:
    """The manifest as a forger would write it, who knows how ids and seals are made: only the content gives it away."""
    raw = orjson.loads((folder / "manifest.json").read_bytes())
    for fact in raw["files"]:
        content = (folder / fact["path"]).read_bytes()
        fact |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    del raw["seal"]
    from tunesmith.core.records import canonical_json, digest
    from tunesmith.ship.release.contents import contents_digest

    raw["settings"]["contents"] = contents_digest({fact["path"]: fact["sha256"] for fact in raw["files"]})
    raw["id"] = digest(canonical_json({key: raw[key] for key in ("kind", "inputs", "settings", "version")}))
    (folder / "manifest.json").write_bytes(sealed(raw))


def sealed(manifest: dict[str, Any]) -> bytes:
    how = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    seal = hashlib.sha256(orjson.dumps(manifest, option=how)).hexdigest()
    return orjson.dumps({**manifest, "seal": seal}, option=how)


def test_a_release_is_whole_anywhere_and_without_a_network(moved: Path, no_network: None) -> None:
    found = tunesmith.verify_release(moved)
    assert (found.ok, found.verdict, found.recomputed, found.signed) == (True, "SHIP", False, False)
    assert any("evidence" in note for note in found.notes) and any("not signed" in note for note in found.notes)


def test_a_release_holds_models_card_recipe_verdict_environment_and_bill(released: Path) -> None:
    there = {path.relative_to(released).as_posix() for path in released.rglob("*") if path.is_file()}
    wanted = (
        "README.md",
        "card.html",
        "card.json",
        "curves.svg",
        "recipe.yaml",
        "environment.json",
        "sbom.cdx.json",
        "LICENSE",
    )
    assert set(wanted) <= there
    assert {"adapter/adapter_model.safetensors", "merged/model.safetensors", "gguf-q8_0/model-q8_0.gguf"} <= there
    assert {"provenance/eval/verdict.json", "provenance/dataset/summary.json"} <= there
    links = [part.split(")")[0] for part in (released / "README.md").read_text().split("](")[1:]]
    assert all((released / link).is_file() for link in links if not link.startswith("https:"))


def test_neither_the_writing_nor_a_private_place_leaves_unless_asked(released: Path, project: Path) -> None:
    text = b"".join(path.read_bytes() for path in released.rglob("*") if path.is_file())
    for private in (SECRET, "private.md", "/home/ann", "password", str(project)):
        assert private.encode() not in text
    assert orjson.loads((released / "adapter" / "adapter_config.json").read_bytes())["base_model_name_or_path"] == "./base"


def test_the_writing_and_the_evidence_are_there_when_asked_and_the_verdict_is_computed_again(
    project: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tunesmith.release(project=project, with_writing=True).path, tmp_path / "downloaded"))
    assert SECRET.encode() in (folder / "writing" / "train.jsonl").read_bytes()
    assert tunesmith.verify_release(folder).recomputed and not faults(folder)
    edit(folder / "writing" / "evidence.json", '"nats":', '"nats":9')
    sealed_again(folder)
    assert "is not what the evidence gives" in faults(folder)


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (lambda d: edit(d / "README.md", "## Verdict: SHIP", "## Verdict: SHIP!"), "README.md is not as it was released"),
        (lambda d: edit(d / "recipe.yaml", "rank: 8", "rank: 9"), "recipe.yaml is not as it was released"),
        (lambda d: (d / "merged" / "model.safetensors").write_bytes(b"0" * 400), "merged/model.safetensors is not as it was"),
        (lambda d: (d / "sbom.cdx.json").unlink(), "sbom.cdx.json is missing"),
        (lambda d: (d / "merged" / "modeling_x.py").write_text("import os"), "merged/modeling_x.py does not belong"),
        (lambda d: (d / "merged" / "manifest.json").write_text("{}"), "merged/manifest.json does not belong"),
        (lambda d: (d / "adapter" / "more").symlink_to(d / "merged"), "adapter/more does not belong"),
        (lambda d: edit(d / "manifest.json", '"unproven": false', '"unproven": true'), "manifest.json does not match its seal"),
    ],
)
def test_a_changed_added_or_missing_file_is_named(moved: Path, plant: Callable[[Path], None], named: str) -> None:
    plant(moved)
    assert named in faults(moved)
    with pytest.raises(SystemExit) as stopped:
        main(["release", "verify", str(moved)])
    assert stopped.value.code == 2


def test_a_number_of_the_card_that_its_artifacts_do_not_give_is_found_though_every_hash_is_right(moved: Path) -> None:
    edit(moved / "README.md", "| steps | 4 |", "| steps | 40 |")
    sealed_again(moved)
    assert "README.md: line" in faults(moved) and "| steps | 40 |" in faults(moved)


def test_another_verdict_is_found_though_every_hash_is_right(tmp_path: Path) -> None:
    make_project(tmp_path, bits=TUNED_WORSE)
    worse = tunesmith.release(project=tmp_path, allow_unproven=True).path
    folder = Path(shutil.copytree(worse, tmp_path / "downloaded"))
    assert not faults(folder)
    other = make_project(tmp_path / "other", bits=TUNED_WELL).resolve("eval:latest")
    for name in ("verdict.json", "report.json"):
        shutil.copyfile(other.path / name, folder / "provenance" / "eval" / name)
    sealed_again(folder)
    said = faults(folder)
    assert "provenance/eval/verdict.json is not the file that the eval wrote" in said and "README.md: line" in said


def test_a_verdict_that_its_own_gates_do_not_give_is_found(moved: Path) -> None:
    edit(moved / "provenance" / "eval" / "verdict.json", '"state":"pass"', '"state":"fail"')
    sealed_again(moved)
    assert "says SHIP, and its own gates give DON'T SHIP" in faults(moved)


def test_a_model_that_was_not_evaluated_is_found_though_every_hash_is_right(moved: Path) -> None:
    (moved / "adapter" / "adapter_model.safetensors").write_bytes(b"another model")
    sealed_again(moved)
    assert "adapter/adapter_model.safetensors is not the file that was evaluated" in faults(moved)


def test_without_ship_a_release_needs_the_flag_and_its_card_says_so(tmp_path: Path) -> None:
    make_project(tmp_path, bits=TUNED_WORSE)
    with pytest.raises(BlockedError, match="nothing shows that this model is better") as refused:
        tunesmith.release(project=tmp_path)
    assert refused.value.exit_code == 2 and not (tmp_path / ".tunesmith" / "releases").exists()
    folder = tunesmith.release(project=tmp_path, allow_unproven=True).path
    assert "> **Not proven.** The verdict on this model is DON'T SHIP" in (folder / "README.md").read_text()


def test_a_run_without_an_evaluation_and_an_export_without_ship_need_the_flag(tmp_path: Path) -> None:
    store = make_project(tmp_path / "a", bits=None)
    with pytest.raises(BlockedError, match="never evaluated"):
        tunesmith.release(project=tmp_path / "a")
    store = make_project(tmp_path / "b")
    add_export(store, verdict="DON'T SHIP")
    with pytest.raises(BlockedError, match="the form gguf-q8_0"):
        tunesmith.release(project=tmp_path / "b")
    assert tunesmith.release(project=tmp_path / "b", forms=["adapter"]).verdict == "SHIP"


def test_only_the_forms_that_were_asked_for_are_released(project: Path) -> None:
    folder = tunesmith.release(project=project, forms=["gguf-q8_0"]).path
    assert (folder / "gguf-q8_0").is_dir() and not (folder / "merged").exists() and not (folder / "adapter").exists()
    text = (folder / "README.md").read_text()
    assert "library_name: gguf" in text and "base_model_relation: quantized" in text and "PeftModel" not in text
    with pytest.raises(ArtifactError, match="no such form"):
        tunesmith.release(project=project, forms=["gguf-q4_k_m"])


def test_the_same_release_is_not_made_twice_and_another_content_has_another_id(project: Path, released: Path) -> None:
    assert tunesmith.release(project=project).path == released
    assert tunesmith.release(project=project, name="other").path != released


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EXDEV])
def test_a_full_disk_leaves_nothing_and_a_disk_without_links_gets_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    make_project(tmp_path)

    def refuse(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), str(target))

    monkeypatch.setattr(os, "link", refuse)
    if number == errno.EXDEV:
        assert not faults(tunesmith.release(project=tmp_path).path)
        return
    with pytest.raises(StorageError, match="the disk is full"):
        tunesmith.release(project=tmp_path)
    assert list((tmp_path / ".tunesmith" / "releases").iterdir()) == []


def test_changed_bytes_in_an_artifact_stop_the_release_and_leave_nothing(tmp_path: Path) -> None:
    store = make_project(tmp_path)
    weights = store.resolve("model:latest").path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="damaged"):
        tunesmith.release(project=tmp_path)
    assert not (tmp_path / ".tunesmith" / "releases").exists()


def test_a_file_that_changes_while_the_release_is_made_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path)
    link = os.link

    def change_first(source: Path, target: Path) -> None:
        if source.name == "config.json":
            source.write_bytes(b"{}")
        link(source, target)

    monkeypatch.setattr(os, "link", change_first)
    with pytest.raises(ArtifactError, match="changed while the release was made"):
        tunesmith.release(project=tmp_path)
    assert list((tmp_path / ".tunesmith" / "releases").iterdir()) == []


def test_a_wrong_id_and_a_folder_that_is_not_a_release_are_refused(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="a card is made for a training run"):
        tunesmith.release("dataset:latest", project=project)
    for folder in (tmp_path, Store(project / ".tunesmith").resolve("run:latest").path):
        with pytest.raises(ArtifactError, match="holds no release"):
            tunesmith.verify_release(folder)


def test_the_bill_of_materials_is_valid_and_names_base_data_and_hashes(released: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (released / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = orjson.loads(text)
    model = bill["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["pedigree"]["ancestors"][0]["name"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    hashes = {one["name"]: one["hashes"][0]["content"] for one in model["components"]}
    weights = released / "merged" / "model.safetensors"
    assert hashes["merged/model.safetensors"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert "data" in {one["type"] for one in bill["components"]}


def test_the_recipe_of_a_release_is_one_that_can_be_run(released: Path) -> None:
    held = yaml.safe_load((released / "recipe.yaml").read_text())
    recipe = Recipe.model_validate({**held, "sources": ["posts"]})
    assert recipe.base == "smollm2" and recipe.method.rank == 8 and recipe.eval.baselines == ["prompted"]


# --- signatures -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two key pairs: `own` and `other`."""
    pytest.importorskip("model_signing", reason="needs model-signing, which the extra `sign` brings")
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pem").write_bytes(private)
        (folder / f"{name}.pub").write_bytes(public)
    return folder


def test_a_signature_holds_for_its_key_and_for_the_signed_bytes_alone(tmp_path: Path, keys: Path, no_network: None) -> None:
    make_project(tmp_path / "project")
    signed = tunesmith.release(project=tmp_path / "project", sign=keys / "own.pem")
    folder = Path(shutil.copytree(signed.path, tmp_path / "downloaded"))
    assert signed.signed and tunesmith.verify_release(folder, key=keys / "own.pub").signed
    assert tunesmith.verify_release(folder).signed is None
    other = tunesmith.verify_release(folder, key=keys / "other.pub")
    assert not other.ok and "is not a signature of this release by the key other.pub" in other.faults[0]
    edit(folder / "recipe.yaml", "rank: 8", "rank: 9")
    sealed_again(folder)
    changed = tunesmith.verify_release(folder, key=keys / "own.pub")
    assert any("Hash mismatch" in fault for fault in changed.faults)
    (folder / "release.sig").unlink()
    assert "release.sig is missing" in tunesmith.verify_release(folder, key=keys / "own.pub").faults[-1]


def test_a_key_that_cannot_sign_is_refused_before_anything_is_made(tmp_path: Path, keys: Path) -> None:
    make_project(tmp_path)
    wrong = tmp_path / "key.pem"
    wrong.write_text("not a key")
    for key in (wrong, keys / "own.pub", tmp_path / "missing.pem"):
        with pytest.raises(ArtifactError, match="this key cannot be used"):
            tunesmith.release(project=tmp_path, sign=key)
    assert not (tmp_path / ".tunesmith" / "releases").exists()
