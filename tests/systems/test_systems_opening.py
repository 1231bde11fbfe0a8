"""One reference opens one system, or says what is wrong with it before anything is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fakes import copy_base
from tunesmith.core.artifacts import Store
from tunesmith.core.errors import ArtifactError, EvaluationError, ModelError, TunesmithError
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.opening import Opening, open_system


def refused(reference: str | Path, project: Path) -> TunesmithError:
    with pytest.raises(TunesmithError) as caught, open_system(str(reference), Opening(store=Store(project / ".tunesmith"))):
        pass
    return caught.value


def make_run(project: Path, base: Path, adapter: Path, *, base_id: str) -> Path:
    """A run as training stores it, whose manifest says which base it was trained on."""
    store = Store(project / ".tunesmith")
    inputs = [{"kind": "dataset", "id": "d" * 64}, {"kind": "base", "id": base_id}]
    settings = {"base": str(base), "train": {"max_tokens": 512}}
    with store.create("run", inputs=inputs, settings=settings) as draft:
        shutil.copytree(adapter, draft.path / "adapter")
    return store.all()[0].path


@pytest.fixture(scope="module")
def project(tiny_path: Path, trained_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tunesmith.models.load import find_base

    place = tmp_path_factory.mktemp("project")
    make_run(place, tiny_path, trained_adapter, base_id=find_base(str(tiny_path)).fingerprint)
    return place


def test_a_run_its_folder_and_its_adapter_open_the_same_model_on_its_base(project: Path) -> None:
    run = next((project / ".tunesmith" / "runs").glob("[!l]*"))
    found = []
    for reference in ("run:latest", str(run), str(run / "adapter")):
        with open_system(reference, Opening(store=Store(project / ".tunesmith"))) as opened:
            assert isinstance(opened.system, LocalSystem) and opened.base is not None
            assert opened.form == "float32" and opened.trained_tokens == 512 and opened.dataset == "d" * 64
            adapter = opened.declared.adapter
            assert adapter is not None and (adapter.rank, adapter.scale) == (4, 2.0)
            found.append(opened.system.model.get_base_model().get_input_embeddings().weight.sum().item())
    assert len(set(found)) == 1


def test_a_folder_is_judged_by_what_it_stores_and_by_how_it_is_computed(tiny_path: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with open_system(str(tiny_path), Opening(store=store)) as plain:
        assert (plain.form, plain.engine, plain.declared.layers, plain.declared.vocabulary) == (
            "float32",
            "transformers",
            2,
            384,
        )
        assert plain.declared.tied is True and plain.declared.rope is not None and 7 in (plain.declared.ends or ())
    with open_system(str(tiny_path), Opening(store=store, precision="bfloat16")) as served:
        assert served.form == "bfloat16 served"


def test_an_adapter_of_another_base_is_refused_by_what_its_run_says(
    tiny_path: Path, trained_adapter: Path, tmp_path: Path
) -> None:
    make_run(tmp_path, tiny_path, trained_adapter, base_id="e" * 64)
    error = refused("run:latest", tmp_path)
    assert isinstance(error, ModelError) and "trained on another base" in str(error) and "e" * 8 in str(error)


def test_an_adapter_of_another_shape_is_refused(tiny_path: Path, trained_adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    adapter = shutil.copytree(trained_adapter, tmp_path / "adapter")
    wider = {name: tensor.repeat(1, 2) for name, tensor in load_file(adapter / "adapter_model.safetensors").items()}
    save_file(wider, adapter / "adapter_model.safetensors")
    assert "does not fit this base" in str(refused(f"{tiny_path}+{adapter}", tmp_path))


def test_a_changed_byte_in_an_artifact_is_found(project: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(project, tmp_path / "copy")
    run = next((copy / ".tunesmith" / "runs").glob("[!l]*"))
    file = run / "adapter" / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    for reference in ("run:latest", run, run / "adapter"):
        error = refused(reference, copy)
        assert isinstance(error, ArtifactError) and error.problems[0].hint


def test_a_half_written_artifact_is_refused(project: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(project, tmp_path / "copy")
    run = next((copy / ".tunesmith" / "runs").glob("[!l]*"))
    (run / "adapter" / "adapter_config.json").unlink()
    assert isinstance(refused(run, copy), ArtifactError)
    (run / "manifest.json").unlink()
    assert "adapter" in str(refused(run / "adapter", copy))


def test_truncated_weights_are_refused(tiny_path: Path, tmp_path: Path) -> None:
    folder = copy_base(tiny_path, tmp_path / "half")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "bytes promised" in str(refused(folder, tmp_path))


def test_a_base_named_with_dots_is_not_followed(trained_adapter: Path, tmp_path: Path) -> None:
    adapter = shutil.copytree(trained_adapter, tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    for name in ("../../secret", ""):
        (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": name}))
        assert "does not name a base" in str(refused(adapter, tmp_path))


@pytest.mark.parametrize("reference", ["run:../../x", "model:latest", "abcdef", "../nothing.gguf", "./nothing"])
def test_a_reference_that_means_nothing_is_an_error_with_a_hint(reference: str, tmp_path: Path) -> None:
    error = refused(reference, tmp_path)
    assert error.problems[0].hint and error.problems[0].expected


def test_an_artifact_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path / ".tunesmith").create("dataset", inputs=[], settings={}) as draft:
        (draft.path / "test.jsonl").write_text("")
    error = refused("dataset:latest", tmp_path)
    assert isinstance(error, EvaluationError) and "not a model" in str(error)


def test_an_address_without_a_model_is_refused(tmp_path: Path) -> None:
    assert "no model of the server is named" in str(refused("http://127.0.0.1:9/v1", tmp_path))


def test_a_file_that_is_not_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF but not really")
    assert "not a GGUF file" in str(refused(tmp_path / "m.gguf", tmp_path))
