"""The merged folder: base and adapter in one model that transformers and most servers open."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.core.records import digest
from tunesmith.models.load import BaseFolder, find_base, load_model
from tunesmith.models.memory import release_memory
from tunesmith.ship.format import ExportSource, Format, Written
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.system import System

__all__ = ["FORMAT", "files_of"]

_BATCH = 64  # answers at once


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    for file in files_of(source.merged):
        shutil.copyfile(file, folder / file.name)
    return Written()


def files_of(folder: BaseFolder) -> list[Path]:
    """The files of a model folder that a reader of it needs: all but Tunesmith's own manifest."""
    return sorted(file for file in folder.path.iterdir() if file.is_file() and file.name != "manifest.json")


@contextmanager
def _open(source: ExportSource, path: Path, quant: str) -> Iterator[System]:
    """Computed in float32, as the evaluation computes the tuned model."""
    folder = find_base(str(path), offline=True)
    yield LocalSystem(
        name="tuned",
        label="merged folder in transformers",
        fingerprint=digest("merged", folder.fingerprint),
        model=load_model(folder, "float32"),
        chat=source.chat,
        context=source.base.context,
        batch_examples=_BATCH,
    )
    release_memory()


FORMAT = Format(
    name="merged",
    title="merged folder",
    order=10,
    engine="transformers",
    package="transformers",
    write=_write,
    open=_open,
    run_with=("transformers serve --force-model {path}", "vllm serve {path}"),
)
