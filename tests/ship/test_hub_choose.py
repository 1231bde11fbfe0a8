"""What a push takes and what it leaves here: nothing damaged, no pickles, no hidden files, no data with a model."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from shipped_things import BASE, write_adapter, write_artifact, write_card, write_gguf, write_model, write_rows

from tunesmith.core.errors import ArtifactError, DatasetError, HubError, ModelError, TunesmithError
from tunesmith.ship.hub.prepare import prepare
from tunesmith.ship.hub.records import PushList

NAME = "ada/voice"


def listed(reference: Path | str, **options: object) -> PushList:
    return prepare(str(reference), NAME, **{"project": Path("."), **options})  # type: ignore[arg-type]


def paths(push: PushList) -> set[str]:
    return {file.path for file in push.files}


def left_out(push: PushList) -> dict[str, str]:
    return {one.path: one.reason for one in push.left_out}


@pytest.mark.parametrize(
    "name",
    [
        "voice",
        "",
        "ada/",
        "/voice",
        "ada/../voice",
        "../voice",
        "ada/..",
        "ada/.",
        "./voice",
        "ada//voice",
        "ada/voice/more",
        "datasets/ada/voice",
        "ada\\voice",
        "ada/voice\n",
        "ada/voice%2f..",
        "ada/..%2fvoice",
        "ada/.voice",
        "ada/voice.",
        "ada/voice.git",
        "ada/.git",
        "ada/-voice",
        "ada/vo--ice",
        "https://huggingface.co/ada/voice",
        "ada/vo ice",
        "ada/voice?x=1",
        "ada/voice#main",
        "ada/voice@main",
        "~/voice",
        "C:/voice",
        "ada/" + "v" * 97,
        "ada/vo\0ice",
        "ada/\u202evoice",
        "ada/voïce",
    ],
)
def test_what_is_not_owner_and_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="not the name of a repository"):
        prepare(str(write_adapter(tmp_path / "adapter")), name, project=tmp_path)


@pytest.mark.parametrize("name", ["ada/voice", "Ada-Lovelace/my_voice.v2", "a/b"])
def test_owner_and_name_are_taken(name: str, tmp_path: Path) -> None:
    assert prepare(str(write_adapter(tmp_path / "adapter")), name, project=tmp_path).repository == name


def test_a_changed_artifact_is_refused(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path, "model")
    file = artifact.path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    for reference in ("model:latest", str(artifact.path)):
        with pytest.raises(ArtifactError, match="damaged"):
            listed(reference, project=tmp_path)


def test_an_artifact_that_is_not_for_others_is_refused(tmp_path: Path) -> None:
    write_artifact(tmp_path, "documents")
    with pytest.raises(ArtifactError, match="not published"):
        listed("documents:latest", project=tmp_path)


def test_an_artifact_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such artifact"):
        listed("run:latest", project=tmp_path)


def test_a_run_sends_its_adapter_and_neither_records_nor_samples(tmp_path: Path) -> None:
    write_artifact(tmp_path, "run")
    assert paths(listed("run:latest", project=tmp_path)) == {"adapter_config.json", "adapter_model.safetensors"}


def test_a_release_is_sent_whole_with_its_manifest(tmp_path: Path) -> None:
    from tunesmith.core.artifacts import Store

    with Store(tmp_path / ".tunesmith").create("release", inputs=[], settings={}) as draft:
        write_adapter(draft.path / "adapter")
        write_card(draft.path)
    push = listed("release:latest", project=tmp_path)
    assert paths(push) == {"README.md", "manifest.json", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
    with Store(tmp_path / ".tunesmith").create("release", inputs=[], settings={"with": "rows"}) as draft:
        write_adapter(draft.path / "adapter")
        write_rows(draft.path / "train.jsonl", "one")
        id = draft.id
    with pytest.raises(ArtifactError, match="sent whole"):
        listed(id, project=tmp_path)
    assert "train.jsonl" in paths(listed(id, project=tmp_path, with_data=True))


def test_hidden_files_and_the_projects_own_record_stay_here(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    for name in (".env", ".git/config", ".tunesmith/latest", ".cache/token", "__pycache__/x.pyc", "manifest.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    push = listed(folder)
    assert paths(push) == {"config.json", "tokenizer.json", "model.safetensors", ".gitattributes"}
    assert len(left_out(push)) == 6


def test_pickles_stay_here_whatever_they_are_called(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    (folder / "training_args.bin").write_bytes(pickle.dumps({"a": 1}))
    (folder / "notes.txt").write_bytes(pickle.dumps([1, 2], protocol=2))
    with zipfile.ZipFile(folder / "tokenizer.model", "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    push = listed(folder)
    assert set(left_out(push)) == {"training_args.bin", "notes.txt", "tokenizer.model"}
    assert all("pickled" in reason for reason in left_out(push).values())


def test_pickled_weights_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ArtifactError, match="pickled"):
        listed(tmp_path / "model")
    (tmp_path / "model" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": BASE}))
    with pytest.raises(ModelError, match="no weights"):
        listed(tmp_path / "model")


def test_training_data_leaves_with_a_model_only_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    write_rows(folder / "data" / "train.jsonl", "one")
    (folder / "rows.csv").write_text("a,b\n1,2\n")
    push = listed(folder)
    assert set(left_out(push)) == {"data/train.jsonl", "rows.csv"}
    assert "data/train.jsonl" in paths(listed(folder, with_data=True))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (tmp_path / "secret.txt").write_text("x")
    (folder / "notes.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ArtifactError, match="link leads out"):
        listed(folder)


def test_a_folder_of_nothing_known_and_a_single_other_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("x")
    for reference in (tmp_path / "notes", tmp_path / "notes" / "a.txt"):
        with pytest.raises(ArtifactError):
            listed(reference)


def broken(write: Callable[[Path], object]) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        write(folder)
        return folder

    return made


def _cut_weights(folder: Path) -> None:
    file = write_adapter(folder) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])


def _cut_gguf(folder: Path) -> None:
    file = write_gguf(folder / "voice.gguf")
    file.write_bytes(file.read_bytes()[:-64])


def _missing_shard(folder: Path) -> None:
    (write_model(folder, num_shards=2) / "model-00002-of-00002.safetensors").unlink()


def _own_code(folder: Path) -> None:
    (write_model(folder) / "config.json").write_text('{"auto_map": {"AutoModel": "modeling.py"}}')


def _no_tokenizer(folder: Path) -> None:
    (write_model(folder) / "tokenizer.json").unlink()


def _bad_row(folder: Path) -> None:
    write_rows(folder / "train.jsonl", "one")
    (folder / "test.jsonl").write_text('{"a": 1}\n{"a": \n')


@pytest.mark.parametrize(
    ("write", "kind", "words"),
    [
        (_cut_weights, ModelError, "not a safetensors file"),
        (_cut_gguf, ModelError, "not a GGUF file"),
        (_missing_shard, ModelError, "weights that the index names are missing"),
        (_own_code, ModelError, "run its own code"),
        (_no_tokenizer, ModelError, "no tokenizer"),
        (_bad_row, DatasetError, "test.jsonl, line 2"),
        (lambda folder: write_rows(folder / "train.jsonl"), DatasetError, "no rows"),
    ],
)
def test_what_others_could_not_open_is_refused(
    write: Callable[[Path], object], kind: type[TunesmithError], words: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=words):
        listed(broken(write)(tmp_path / "folder"))


@pytest.mark.parametrize(
    "base", ["/home/ada/models/smollm2", "./smollm2", "smollm2", "C:\\models\\smollm2", "", "../a/b", "../base"]
)
def test_an_adapter_of_a_base_that_others_cannot_open_is_refused_until_the_base_is_named(base: str, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter", base=base)
    with pytest.raises(ModelError, match="others cannot open") as raised:
        listed(folder)
    assert "--base" in raised.value.problems[0].hint
    push = listed(folder, base=BASE)
    config = next(file for file in push.files if file.path == "adapter_config.json")
    assert json.loads(config.open().read())["base_model_name_or_path"] == BASE and config.changed
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == base
    assert any("not checked" in text for text in push.warnings)


def test_a_base_that_is_a_folder_here_is_not_taken_for_one_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ada/base").mkdir(parents=True)
    with pytest.raises(ModelError, match="others cannot open"):
        listed(write_adapter(tmp_path / "adapter", base="ada/base"))


def test_the_base_of_the_recipe_is_offered_where_it_is_known(tmp_path: Path) -> None:
    from tunesmith.core.artifacts import Store

    with Store(tmp_path / ".tunesmith").create("run", inputs=[], settings={"base": "smollm2"}) as draft:
        write_adapter(draft.path / "adapter", base="/cache/bases/smollm2")
    with pytest.raises(ModelError) as raised:
        listed(draft.id, project=tmp_path)
    assert f"--base {BASE}" in raised.value.problems[0].hint


def test_a_base_for_something_that_names_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="only an adapter"):
        listed(write_model(tmp_path / "model"), base=BASE)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ("license: [\n", "cannot be read"),
        ("- a list\n", "cannot be read"),
        (f"base_model: {BASE}\n", "no licence"),
        ("license: mit\n", "no base model"),
        ("license: mit\nbase_model: /home/ada/base\n", "others cannot open"),
        ("license: mit\nbase_model: !!python/object/apply:os.system ['true']\n", "cannot be read"),
    ],
)
def test_a_card_whose_metadata_is_wrong_is_refused(metadata: str, words: str, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    write_card(folder, metadata)
    with pytest.raises(ModelError, match=words):
        listed(folder)


def test_a_card_without_metadata_is_refused_and_a_missing_card_is_reported(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    assert any("README.md" in text for text in listed(folder).warnings)
    (folder / "README.md").write_text("# A voice\n")
    with pytest.raises(ModelError, match="no metadata"):
        listed(folder)
    write_card(folder)
    assert not listed(folder).warnings


def test_the_card_of_a_dataset_needs_no_base_model(tmp_path: Path) -> None:
    write_rows(tmp_path / "data" / "train.jsonl", "one")
    write_card(tmp_path / "data", "license: cc-by-4.0\n")
    assert listed(tmp_path / "data").kind == "dataset"


def test_a_card_that_names_another_base_than_the_adapter_is_reported(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    write_card(folder, "license: mit\nbase_model: [someone/else]\n")
    assert any("names someone/else as its base" in text for text in listed(folder).warnings)


def test_a_card_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    (folder / "README.md").write_bytes("---\nlicense: mit\n---\nZoë".encode("latin-1"))
    with pytest.raises(ModelError, match="UTF-8"):
        listed(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows takes a backslash for a folder")
def test_what_is_neither_file_nor_folder_and_names_that_are_not_plain_are_refused(tmp_path: Path) -> None:
    dangling = write_model(tmp_path / "dangling")
    (dangling / "more.json").symlink_to(dangling / "nothing.json")
    odd = write_model(tmp_path / "odd")
    (odd / "a\\b.txt").write_text("x")
    for folder, words in ((dangling, "neither a file"), (odd, "a name that the hub cannot take")):
        with pytest.raises(ArtifactError, match=words):
            listed(folder)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "model")

    def closed(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("tunesmith.ship.hub.choose.is_pickled", closed)
    with pytest.raises(ArtifactError, match="Permission denied") as raised:
        listed(folder)
    assert "config.json" in str(raised.value.problems[0].value)
