"""Sending to a hub over real HTTP on this machine: one commit, nothing twice, every hash read back, refusals in four parts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from local_hub import TOKEN, LocalHub
from shipped_things import write_adapter, write_artifact, write_card, write_gguf, write_model, write_rows

import tunesmith
from fakes import Told
from tunesmith.core.errors import ArtifactError, HubError

NAME = "ada/voice"
pytest_plugins = ["hub_fixtures"]


def refusal(folder: Path, name: str = NAME, **options: bool) -> HubError:
    with pytest.raises(HubError) as raised:
        tunesmith.push(folder, name, **options)  # type: ignore[arg-type]
    assert TOKEN not in str(raised.value) and "secret-signature" not in str(raised.value)
    return raised.value


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_adapter_is_sent_in_one_commit_to_a_private_repository_and_read_back(hub: LocalHub, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    write_card(folder)
    pushed = tunesmith.push(folder, NAME)
    repository = hub.repositories["model", NAME]
    assert repository.private and len(repository.commits) == 2 and repository.commits[-1][0] == pushed.commit
    for name in ("adapter_config.json", "adapter_model.safetensors", "README.md"):
        assert hub.content(NAME)[name] == (folder / name).read_bytes()
        assert pushed.files[name] == sha256((folder / name).read_bytes())
    assert pushed.url == f"{hub.url}/{NAME}" and not pushed.remaining and not pushed.dry_run
    assert any("/paths-info/" + pushed.commit in path for path in hub.paths("POST"))


def test_each_kind_of_artifact_is_sent_by_its_reference(hub: LocalHub, tmp_path: Path) -> None:
    sent = {}
    for kind in ("run", "model", "export", "dataset"):
        write_artifact(tmp_path, kind)
        pushed = tunesmith.push(f"{kind}:latest", f"ada/{kind}", project=tmp_path)
        sent[kind] = set(hub.content(f"ada/{kind}", kind=pushed.listed.repository_type)) - {".gitattributes"}
    assert sent == {
        "run": {"adapter_config.json", "adapter_model.safetensors"},
        "model": {"config.json", "tokenizer.json", "model.safetensors"},
        "export": {"voice.gguf"},
        "dataset": {"train.jsonl"},
    }
    assert ("dataset", "ada/dataset") in hub.repositories


def test_a_gguf_file_alone_is_sent(hub: LocalHub, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "voice.gguf")
    assert tunesmith.push(file, NAME).listed.kind == "gguf"
    assert hub.content(NAME)["voice.gguf"] == file.read_bytes()


def test_a_large_file_goes_in_parts_and_arrives_whole(hub: LocalHub, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", size=5000)
    hub.part_bytes = 7000
    tunesmith.push(folder, NAME)
    assert hub.content(NAME)["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert len([path for path in hub.paths("PUT") if path.startswith("/storage/")]) == 3


def test_a_dry_run_asks_nothing_and_needs_no_token(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("TUNESMITH_OFFLINE", "1")
    pushed = tunesmith.push(write_adapter(tmp_path / "adapter"), NAME, dry_run=True)
    assert pushed.dry_run and set(pushed.files) == {"adapter_config.json", "adapter_model.safetensors"}
    assert not hub.asked


def test_nothing_is_sent_where_the_list_is_declined(hub: LocalHub, tmp_path: Path) -> None:
    assert tunesmith.push(write_adapter(tmp_path / "adapter"), NAME, confirm=lambda listed: len(listed.files) == 0).dry_run
    assert not hub.asked


def test_a_second_push_of_the_same_files_sends_none_and_makes_no_commit(hub: LocalHub, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    first, again = tunesmith.push(folder, NAME), tunesmith.push(folder, NAME)
    assert first.sent_bytes > 10_000 and again.sent_bytes == 0
    assert again.commit == first.commit and len(hub.uploads) == 1


def test_a_cut_upload_leaves_no_commit_and_the_same_command_sends_only_the_rest(
    hub: LocalHub, tmp_path: Path, waits: list[float]
) -> None:
    folder = write_model(tmp_path / "model", num_shards=3, size=60_000)
    (folder / "model-00003-of-00003.safetensors").unlink()
    write_model(tmp_path / "larger", num_shards=3, size=90_000)
    (tmp_path / "larger" / "model-00003-of-00003.safetensors").rename(folder / "model-00003-of-00003.safetensors")
    hub.cut_after = 300_000  # between the sizes of the first two and the third
    error = refusal(folder)
    assert "connection to the hub broke" in str(error) and "is not sent again" in error.problems[0].hint
    assert len(hub.repositories["model", NAME].commits) == 1 and len(hub.uploads) == 2 and len(waits) == 5
    hub.cut_after = None
    pushed = tunesmith.push(folder, NAME)
    assert len(hub.uploads) == 3
    assert pushed.sent_bytes == (folder / "model-00003-of-00003.safetensors").stat().st_size
    assert hub.content(NAME)["model-00001-of-00003.safetensors"] == (folder / "model-00001-of-00003.safetensors").read_bytes()


def test_a_hub_that_fails_for_a_while_is_asked_again_and_that_is_reported(
    hub: LocalHub, tmp_path: Path, waits: list[float]
) -> None:
    hub.refusals["PUT /storage/.*"] = [(503, {}), (429, {})]
    said = Told()
    tunesmith.push(write_adapter(tmp_path / "adapter"), NAME, reporter=said)
    assert len(waits) == 2 and any("503" in text for text in said.warnings)
    assert not any("secret-signature" in text for text in said.warnings)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, {}, "the hub failed while sending the files"),
        (429, {}, "too many requests"),
        (403, {"error": "Private repository storage limit reached"}, "no room left"),
        (402, {"error": "Payment required"}, "no room left"),
        (413, {}, "no room left"),
        (418, {}, "the hub refuses while sending the files"),
    ],
)
def test_each_kind_of_refusal_is_recognised_and_leaves_nothing(
    hub: LocalHub, tmp_path: Path, status: int, body: dict[str, str], words: str
) -> None:
    hub.refusals[".*/commit/main"] = [(status, body)] * 6
    assert words in str(refusal(write_adapter(tmp_path / "adapter")))
    assert len(hub.repositories["model", NAME].commits) == 1


def test_a_full_storage_is_recognised_before_the_commit(hub: LocalHub, tmp_path: Path) -> None:
    said = {"objects": [{"oid": "0" * 64, "size": 1, "error": {"code": 403, "message": "storage quota exceeded"}}]}
    hub.refusals[".*objects/batch"] = [(200, said)]
    assert "no room left" in str(refusal(write_adapter(tmp_path / "adapter")))


def test_a_missing_token_is_reported_before_anything_is_asked(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert "no token" in str(refusal(write_adapter(tmp_path / "adapter"))) and not hub.asked


def test_a_wrong_token_is_reported_and_not_repeated(hub: LocalHub, tmp_path: Path) -> None:
    hub.token = "hf_another"
    assert "does not accept the token" in str(refusal(write_adapter(tmp_path / "adapter")))
    assert not hub.repositories


@pytest.mark.parametrize("exists", [False, True])
def test_the_name_of_somebody_else_is_refused(hub: LocalHub, tmp_path: Path, exists: bool) -> None:
    if exists:
        hub.add("bob/voice", private=False)
    error = refusal(write_adapter(tmp_path / "adapter"), "bob/voice", public=True)
    assert "the token of ada has no right to this repository" in str(error)
    assert not hub.uploads and (not exists or len(hub.repositories["model", "bob/voice"].commits) == 1)


def test_a_name_taken_by_what_cannot_be_seen_is_refused(hub: LocalHub, tmp_path: Path) -> None:
    hub.add(NAME)
    hub.writable = set()
    hub.refusals["POST /api/repos/create"] = [(409, {"error": "You already created this model repo"})]
    assert "taken" in str(refusal(write_adapter(tmp_path / "adapter")))


def test_a_public_repository_is_not_written_to_unless_that_is_asked_for(hub: LocalHub, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    hub.add(NAME, private=False)
    assert "anybody could read" in str(refusal(folder)) and not hub.uploads
    assert tunesmith.push(folder, NAME, public=True).listed.public


def test_a_private_repository_is_not_taken_for_a_public_one(hub: LocalHub, tmp_path: Path) -> None:
    hub.add(NAME)
    assert "is private, and --public" in str(refusal(write_adapter(tmp_path / "adapter"), public=True)) and not hub.uploads


def test_a_hub_that_makes_a_public_repository_of_a_private_one_gets_no_file(hub: LocalHub, tmp_path: Path) -> None:
    hub.ignores_privacy = True
    assert "anybody could read" in str(refusal(write_adapter(tmp_path / "adapter")))
    assert not hub.uploads and not any("preupload" in path for path in hub.paths())


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_other_bytes_on_the_hub_are_found_and_named(hub: LocalHub, tmp_path: Path, name: str) -> None:
    hub.spoil = lambda path, content: bytes([content[0] ^ 1, *content[1:]]) if path == name else content
    error = refusal(write_adapter(tmp_path / "adapter"))
    assert error.exit_code == 1 and error.problems[0].value == f"{name} has other bytes"


def test_missing_and_shorter_files_on_the_hub_are_found_and_named(hub: LocalHub, tmp_path: Path) -> None:
    hub.spoil = lambda path, content: None if path.endswith("json") else content[:-1]
    value = str(refusal(write_adapter(tmp_path / "adapter")).problems[0].value)
    assert "adapter_config.json is missing" in value and "adapter_model.safetensors has" in value


def test_a_repository_that_another_push_changed_meanwhile_is_left_alone(hub: LocalHub, tmp_path: Path) -> None:
    def another_push() -> None:
        hub.repositories["model", NAME].commit({}, "another push")

    hub.before_commit = another_push
    assert "changed by another push" in str(refusal(write_adapter(tmp_path / "adapter")))


def test_a_file_that_changes_after_the_list_was_shown_is_not_sent(hub: LocalHub, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")

    def change(listed: tunesmith.PushList) -> bool:
        write_adapter(folder, size=401)
        return True

    with pytest.raises(ArtifactError, match="changed after it was listed"):
        tunesmith.push(folder, NAME, confirm=change)
    assert not hub.uploads


def test_metadata_that_the_hub_refuses_stops_before_a_file_is_sent(hub: LocalHub, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    write_card(folder, "license: unheard-of\nbase_model: a/b\n")
    assert "must be one of [apache-2.0, mit]" in str(refusal(folder)) and not hub.uploads


def test_other_files_of_the_repository_are_reported(hub: LocalHub, tmp_path: Path) -> None:
    hub.add(NAME, files={"old.safetensors": ("lfs", b"old")})
    said = Told()
    assert tunesmith.push(write_adapter(tmp_path / "adapter"), NAME, reporter=said).remaining == ("old.safetensors",)
    assert any("old.safetensors" in text for text in said.warnings)


def test_offline_forbids_a_push(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_adapter(tmp_path / "adapter")
    monkeypatch.setenv("TUNESMITH_OFFLINE", "yes")
    assert "TUNESMITH_OFFLINE" in str(refusal(folder)) and not hub.asked
    monkeypatch.delenv("TUNESMITH_OFFLINE")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in str(refusal(folder)) and not hub.asked


def test_a_hub_that_is_not_there_is_reported(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "connection to the hub broke while asking who" in str(refusal(write_adapter(tmp_path / "adapter")))


def test_the_commit_names_no_folder_of_this_machine(hub: LocalHub, tmp_path: Path) -> None:
    tunesmith.push(write_adapter(tmp_path / "adapter"), NAME)
    message = hub.repositories["model", NAME].messages[-1]
    assert "adapter" in message and str(tmp_path) not in message


def test_a_file_that_is_gone_after_the_list_was_shown_is_named(hub: LocalHub, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")

    def remove(listed: tunesmith.PushList) -> bool:
        (folder / "adapter_model.safetensors").unlink()
        return True

    with pytest.raises(ArtifactError, match="changed after it was listed"):
        tunesmith.push(folder, NAME, confirm=remove)


def test_the_token_is_sent_to_no_address_in_clear_text(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("http://hub.example", "https://ada:word@hub.example", "ftp://127.0.0.1", "hub.example"):
        monkeypatch.setenv("HF_ENDPOINT", address)
        error = refusal(write_adapter(tmp_path / "adapter"))
        assert "HF_ENDPOINT" in str(error) and "word@" not in str(error)


def test_allowed_findings_are_written_into_the_commit(hub: LocalHub, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", "write to 4111 1111 1111 1111 please")
    tunesmith.push(rows, NAME, allow=["card_numbers"])
    assert "Allowed findings: card_numbers" in hub.repositories["dataset", NAME].messages[-1]


def test_the_library_says_who_asks_and_nothing_of_the_machine(hub: LocalHub, tmp_path: Path) -> None:
    tunesmith.push(write_adapter(tmp_path / "adapter"), NAME)
    named = {client for client in hub.clients if "tunesmith" in client}
    assert named and not any("torch" in client or "agent" in client for client in named)


def test_progress_counts_the_bytes_that_travel(hub: LocalHub, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", size=500_000)
    pushed = tunesmith.push(folder, NAME)
    assert pushed.sent_bytes == sum((folder / name).stat().st_size for name in ("model.safetensors",))
