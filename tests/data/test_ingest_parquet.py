"""Parquet files and data sets of a hub are read as rows, in pieces; without pyarrow the way out is named."""

from __future__ import annotations

import datetime
import importlib.util
import io
import zipfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from local_server import Answer, LocalServer, serving
from shared_material import ingest

from tunesmith.core.errors import SourceError
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.hub import _chosen

pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow, which the dev extra brings")

ROWS = [
    {
        "text": f"It rained for {number} hours.",
        "title": f"Post {number}",
        "date": datetime.date(2023, 4, 11),
        "picture": b"\x89PNG",
    }
    for number in range(700)
]
TALKS = [{"messages": [{"role": "user", "content": f"Is it {n}?"}, {"role": "assistant", "content": "Yes."}]} for n in range(5)]


def as_parquet(rows: list[dict[str, Any]], **options: Any) -> bytes:
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), buffer, **options)
    return buffer.getvalue()


def test_rows_of_a_parquet_file_are_documents_and_columns_of_bytes_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "posts.parquet").write_bytes(as_parquet(ROWS, row_group_size=100))
    found = ingest(tmp_path / "posts.parquet")
    assert len(found.documents) == 700 and not found.failures
    last = found.documents[-1]
    assert (last.text, last.title, last.date) == ("It rained for 699 hours.", "Post 699", "2023-04-11")


def test_conversations_in_a_parquet_file_are_pairs_whatever_the_file_is_called(tmp_path: Path) -> None:
    (tmp_path / "train.bin").write_bytes(as_parquet(TALKS))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("talks.parquet", as_parquet(TALKS))
    found = ingest(tmp_path / "train.bin")
    assert [pair.answer for pair in found.pairs] == ["Yes."] * 5
    assert len(ingest(tmp_path / "all.zip").pairs) == 5


def test_without_pyarrow_the_command_to_type_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(as_parquet(TALKS))
    (tmp_path / "b.md").write_text("Words.")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"pip install 'tunesmith\[tables\]'"):
        gather([str(tmp_path / "a.parquet")])
    assert [failure.source for failure in gather([str(tmp_path)]).failures] == ["a.parquet"]


def test_a_dictionary_bomb_and_broken_files_are_named(tmp_path: Path) -> None:
    bomb = as_parquet([{"text": "x" * 3_000_000}] * 400)
    assert len(bomb) < 1_000_000
    whole = as_parquet(ROWS)
    files = {
        "bomb": bomb,
        "cut": whole[:-40],
        "bent": whole[:60] + b"\xff" * 60 + whole[120:],
        "only": as_parquet([{"p": b"1"}]),
    }
    for name, data in files.items():
        (tmp_path / f"{name}.parquet").write_bytes(data)
    (tmp_path / "good.md").write_text("Words.")
    found = ingest(tmp_path)
    reasons = {failure.source.split(".")[0]: failure.reason for failure in found.failures}
    assert reasons.keys() >= {"bomb", "cut", "only"} and "more than 2 MB" in reasons["bomb"]
    assert "no column with words" in reasons["only"] and "good.md" in {document.source for document in found.documents}


# --- a hub ------------------------------------------------------------------------------------------------------------


def hub(server: LocalServer, files: dict[str, bytes], *, revision: str = "main") -> None:
    """What a hub answers about one data set: its files with sizes, and each file under its commit."""
    sha = f"{len(revision):040x}"
    listed = [{"rfilename": name, "size": len(data), "blobId": "b"} for name, data in files.items()]
    info = {"id": "ada/rain", "sha": sha, "siblings": listed, "tags": [], "private": False, "cardData": {"license": "cc0-1.0"}}
    path = "/api/datasets/ada/rain" + ("" if revision == "main" else "/revision/refs%2Fconvert%2Fparquet")
    said: Answer = (200, {"Content-Type": "application/json"}, orjson.dumps(info))
    server.answers |= {path: said, f"{path}?blobs=true": said}
    for number, (name, data) in enumerate(files.items()):
        headers = {"ETag": f'"{sha}{number}"', "X-Repo-Commit": sha, "Content-Type": "application/octet-stream"}
        server.answers[f"/datasets/ada/rain/resolve/{sha}/{name}"] = (200, headers, data)


@pytest.fixture
def at_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with serving({}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url("").rstrip("/"))
        yield server


def test_the_train_split_of_a_hub_data_set_is_read_with_its_licence(at_hub: LocalServer) -> None:
    hub(at_hub, {"README.md": b"# Rain", "data/train-00000-of-00001.parquet": as_parquet(TALKS), "data/test-0.parquet": b""})
    found = ingest("hf:ada/rain")
    assert len(found.pairs) == 5 and found.pairs[0].license == "cc0-1.0"
    assert found.pairs[0].source == "ada/rain/data/train-00000-of-00001.parquet"
    before = len(at_hub.asked)
    assert ingest("hf:ada/rain:train").pairs == found.pairs
    assert not any("resolve" in path for path, _ in at_hub.asked[before:]), "a file was fetched twice"


def test_a_data_set_without_files_of_rows_is_read_as_the_hub_converts_it(at_hub: LocalServer) -> None:
    hub(at_hub, {"rain.py": b"code is never run"})
    hub(at_hub, {"default/train/0000.parquet": as_parquet(TALKS)}, revision="converted")
    assert len(ingest("hf:ada/rain").pairs) == 5


@pytest.mark.parametrize("source", ["hf:ada/rain", "hf:ada", "hf:ada/rain/../../x", "hf:", "hf:ada/rain:no:split"])
def test_what_is_no_data_set_or_unknown_is_an_error_in_four_parts(at_hub: LocalServer, source: str) -> None:
    with pytest.raises(SourceError) as caught:
        gather([source])
    assert caught.value.problems[0].hint and caught.value.problems[0].value == source


def test_a_hub_out_of_reach_is_an_error_in_four_parts(at_hub: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match="cannot get the data set from the hub"):
        gather(["hf:ada/rain"])


def test_files_are_chosen_by_split_and_configuration() -> None:
    names = ["en/train-0.parquet", "en/test-0.parquet", "de/train-0.parquet", "train.jsonl", "dataset_infos.json", "x.png"]
    sizes = dict.fromkeys(names, 1)
    assert sorted(_chosen(sizes, config=None, split=None)) == ["de/train-0.parquet", "en/train-0.parquet"]
    assert sorted(_chosen(sizes, config="en", split=None)) == ["en/train-0.parquet"]
    assert sorted(_chosen(sizes, config="en", split="test")) == ["en/test-0.parquet"]
    assert sorted(_chosen({"a.csv": 1, "b.csv": 1}, config=None, split=None)) == ["a.csv", "b.csv"]
    assert _chosen({"README.md": 1}, config=None, split=None) == {}
