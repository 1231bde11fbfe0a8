"""The merged folder: base and adapter in one model that transformers and most servers open."""

from __future__ import annotations

import shutil
from pathlib import Path

from tunesmith.models.load import BaseFolder
from tunesmith.ship.format import ExportSource, Format, Written

__all__ = ["FORMAT", "files_of"]


def _write(source: ExportSource, folder: Path, quant: str) -> Written:
    for file in files_of(source.merged):
        shutil.copyfile(file, folder / file.name)
    return Written()


def files_of(folder: BaseFolder) -> list[Path]:
    """The files of a model folder that a reader of it needs: all but Tunesmith's own manifest."""
    return sorted(file for file in folder.path.iterdir() if file.is_file() and file.name != "manifest.json")


FORMAT = Format(
    name="merged",
    title="merged folder",
    order=10,
    engine="transformers",
    package="transformers",
    write=_write,
    run_with=("transformers serve --force-model {path}", "vllm serve {path}"),
)
