"""`tunesmith push`: the list first, a question at a terminal, `--yes` in a script, JSON, exit codes, a kill in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_hub import TOKEN, LocalHub
from shipped_things import write_adapter, write_artifact, write_card, write_model

from tunesmith.cli.main import main

NAME = "ada/voice"
pytest_plugins = ["hub_fixtures"]


def typed(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `tunesmith push …`."""
    code = 0
    try:
        main(["push", *map(str, words)])
    except SystemExit as ended:
        code = int(ended.code or 0)
    printed = capsys.readouterr()
    assert TOKEN not in printed.out + printed.err
    return code, printed.out, printed.err


def test_a_dry_run_lists_paths_sizes_and_hashes_and_sends_nothing(
    hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_artifact(tmp_path, "run")
    code, out, err = typed(capsys, "run:latest", NAME, "--project", tmp_path, "--dry-run")
    assert code == 0 and "adapter_model.safetensors" in out and "SHA-256" in out
    assert "private" in err and "2 files" in err and not hub.asked


def test_a_script_must_say_yes(hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_adapter(tmp_path / "adapter")
    code, _, err = typed(capsys, folder, NAME)
    assert code == 1 and "--yes" in err and not hub.asked
    assert typed(capsys, folder, NAME, "--yes")[0] == 0
    assert len(hub.repositories["model", NAME].commits) == 2


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_person_is_asked_after_the_list(
    answer: str, hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    asked: list[str] = []

    def confirm(text: str, **_: object) -> bool:
        asked.append(text)
        return answer == "y"

    monkeypatch.setattr("typer.confirm", confirm)
    code, out, _ = typed(capsys, write_adapter(tmp_path / "adapter"), NAME)
    assert code == 0 and "adapter_model.safetensors" in out and asked == [f"  Send 2 files to {NAME}?"]
    assert (("model", NAME) in hub.repositories) is (answer == "y")


def test_json_is_one_object_alone(hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = typed(capsys, write_adapter(tmp_path / "adapter"), NAME, "--yes", "--json")
    result = json.loads(out)
    assert code == 0 and result["commit"] == hub.repositories["model", NAME].commits[-1][0]
    assert result["repository_type"] == "model" and result["kind"] == "adapter" and result["public"] is False
    assert [set(file) for file in result["files"]] == [{"path", "size", "sha256"}] * 2
    assert result["bytes"] == sum(file["size"] for file in result["files"])


def test_public_is_said_in_capitals(hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = typed(capsys, write_adapter(tmp_path / "adapter"), NAME, "--public", "--yes")
    assert code == 0 and "PUBLIC" in err and not hub.repositories["model", NAME].private


def test_findings_end_with_exit_code_two_and_other_bytes_with_one(
    hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_adapter(tmp_path / "adapter")
    write_card(folder, text="card 4111 1111 1111 1111\n")
    code, _, err = typed(capsys, folder, NAME, "--yes")
    assert code == 2 and "--allow card_numbers" in err and not hub.asked
    hub.spoil = lambda path, content: content + b"\n" if path == "README.md" else content
    code, _, err = typed(capsys, folder, NAME, "--yes", "--allow", "card_numbers")
    assert code == 1 and "README.md has" in err


@pytest.mark.slow
def test_a_push_that_is_killed_leaves_no_commit_and_is_continued_by_the_same_command(hub: LocalHub, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", num_shards=2, size=60_000)
    command = [
        sys.executable,
        "-c",
        "from tunesmith.cli.main import main; main()",
        "push",
        str(folder),
        NAME,
        "--yes",
        "--json",
    ]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def kill_in_the_second_upload(number: int) -> None:
        if number == 2:
            assert hub.stored.wait(60)
            first.kill()
            first.wait()
            raise ConnectionAbortedError

    hub.upload_begins = kill_in_the_second_upload
    _, said = first.communicate()
    assert first.returncode != 0 and TOKEN.encode() not in said
    assert len(hub.uploads) == 1 and len(hub.repositories["model", NAME].commits) == 1
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    shards = [folder / f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    assert len(hub.uploads) == 2 and json.loads(done.stdout)["sent_bytes"] == shards[0].stat().st_size
    assert [hub.content(NAME)[shard.name] for shard in shards] == [shard.read_bytes() for shard in shards]
