"""The search over everything that leaves: each kind of secret and personal datum is found in each kind of file, and named."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import save_file
from shipped_things import write_adapter, write_artifact, write_card, write_gguf, write_model, write_rows

from tunesmith.core.errors import BlockedError, HubError
from tunesmith.ship.hub.prepare import prepare
from tunesmith.ship.hub.records import PushList

SECRET = "ghp_" + "k3JtR8vQzW1xYb6NpLs4Hd9GfTa2Mc7EuVoX"


def listed(reference: Path, *, public: bool = False, allow: tuple[str, ...] = ()) -> PushList:
    return prepare(str(reference), "ada/voice", project=reference.parent, public=public, allow=allow)


def in_card(folder: Path, text: str) -> str:
    write_card(folder, text=f"# A voice\n\n{text}\n")
    return "README.md:8"


def in_json(folder: Path, text: str) -> str:
    (folder / "extra.json").write_text(json.dumps({"deep": [{"note": text}]}))
    return "extra.json"


def in_key_and_value(folder: Path, text: str) -> str:
    (folder / "extra.json").write_text(json.dumps({"api_key": "q7Zx92LmWv4"} if text == SECRET else {"note": text}))
    return "extra.json"


def in_template(folder: Path, text: str) -> str:
    (folder / "chat_template.jinja").write_text(f"{{# {text} #}}")
    return "chat_template.jinja:1"


def in_other_encoding(folder: Path, text: str) -> str:
    (folder / "notes.txt").write_text(f"Zoë schrieb:\n{text}\n", encoding="utf-16")
    return "notes.txt:2"


def in_gzip(folder: Path, text: str) -> str:
    (folder / "notes.txt.gz").write_bytes(gzip.compress(f"one\n{text}".encode()))
    return "notes.txt.gz:2"


def in_weights(folder: Path, text: str) -> str:
    import numpy as np

    save_file({"a": np.ones(3, dtype=np.float32)}, folder / "more.safetensors", {"note": text})
    return "more.safetensors:header"


def in_gguf(folder: Path, text: str) -> str:
    write_gguf(folder / "voice.gguf", name=text)
    return "voice.gguf:header"


PLACES = (in_card, in_json, in_key_and_value, in_template, in_other_encoding, in_gzip, in_weights, in_gguf)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("text", "name"),
    [
        (SECRET, "secrets"),
        ("4111 1111 1111 1111", "card_numbers"),
        ("GB82 WEST 1234 5698 7654 32", "ibans"),
    ],
)
def test_what_must_not_leave_stops_the_push_wherever_it_is(
    place: Callable[[Path, str], str], text: str, name: str, tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "adapter")
    where = place(folder, text)
    with pytest.raises(BlockedError) as raised:
        listed(folder)
    assert raised.value.exit_code == 2 and raised.value.names == (name,)
    assert where in str(raised.value.problems[0].value) and text not in str(raised.value)
    push = listed(folder, allow=(name,))
    assert push.allowed == (name,) and push.findings[0].name == name


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".json", ".parquet", ".jsonl.gz"])
def test_rows_are_searched_in_every_format(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / "data" / f"train{suffix}"
    write_rows(tmp_path / "data" / "train.jsonl", "nothing here", f"the key is {SECRET}")
    rows = [json.loads(line) for line in (tmp_path / "data" / "train.jsonl").read_text().splitlines()]
    if suffix != ".jsonl":
        (tmp_path / "data" / "train.jsonl").rename(tmp_path / "rows")
        write_rows(tmp_path / "data" / "val.jsonl", "one")
    if suffix == ".csv":
        file.write_text(f"prompt,answer\nhello,the key is {SECRET}\n")
    elif suffix == ".json":
        file.write_text(json.dumps(rows))
    elif suffix == ".jsonl.gz":
        file.write_bytes(gzip.compress((tmp_path / "rows").read_bytes()))
    elif suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow, which the extra `tables` brings")
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    with pytest.raises(BlockedError) as raised:
        listed(tmp_path / "data")
    assert raised.value.names == ("secrets",) and f"train{suffix}" in str(raised.value.problems[0].value)


def test_everything_that_is_found_is_reported_at_once(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    in_card(folder, f"{SECRET} and 4111 1111 1111 1111")
    with pytest.raises(BlockedError) as raised:
        listed(folder)
    assert set(raised.value.names) == {"secrets", "card_numbers"}
    with pytest.raises(BlockedError) as raised:
        listed(folder, allow=("secrets",))
    assert raised.value.names == ("card_numbers",)


def test_an_address_is_reported_and_stops_what_is_to_be_public(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    in_card(folder, "Write to ada@lovelace.org.")
    assert [(one.name, one.blocks) for one in listed(folder).findings] == [("emails", False)]
    with pytest.raises(BlockedError) as raised:
        listed(folder, public=True)
    assert raised.value.names == ("emails",)
    assert listed(folder, public=True, allow=("emails",)).allowed == ("emails",)


@pytest.mark.parametrize("key", ["api_key", "HF_TOKEN", "token", "client_secret", "dbPassword", "accessToken"])
def test_a_key_says_that_its_value_is_a_secret(key: str, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    (folder / "extra.json").write_text(json.dumps({"settings": {key: "q7Zx92LmWv4"}}))
    with pytest.raises(BlockedError) as raised:
        listed(folder)
    assert raised.value.names == ("secrets",)


def test_a_path_of_this_machine_is_reported(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "_name_or_path": "/home/ada/models/base"}))
    assert [(one.name, one.places, one.blocks) for one in listed(folder).findings] == [("local_paths", ("config.json",), False)]


def test_a_binary_file_of_unknown_kind_stops_the_push(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "adapter")
    (folder / "imatrix.dat").write_bytes(bytes(range(256)) * 8)
    with pytest.raises(BlockedError) as raised:
        listed(folder)
    assert raised.value.names == ("unsearched",)
    assert listed(folder, allow=("unsearched",)).allowed == ("unsearched",)


def test_a_misspelt_name_is_not_accepted(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="no finding has this name"):
        listed(write_adapter(tmp_path / "adapter"), allow=("secret",))


def test_clean_things_have_no_findings(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", num_shards=2)
    hashes = {"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "tokenizer_sha256": "ab12" * 16}
    (folder / "hashes.json").write_text(json.dumps(hashes))
    names = {"eos_token": "<|im_end|>", "pad_token": "reserved_tok_12", "tokenizer_class": "Qwen2TokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    (folder / "figure.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(200)))
    write_card(folder, text="# A voice\n\nTrained for 3 epochs, loss 2.514 to 2.101, on 2026-11-28.\n")
    assert not listed(folder, public=True).findings
    artifact = write_artifact(tmp_path, "dataset")
    assert not listed(artifact.path, public=True).findings
