"""Merging: the adapter's update added into a copy of the base's weights, in float32, template and tokenizer carried along."""

from __future__ import annotations

import shutil
from pathlib import Path

from tunesmith.models.adapters import open_adapter
from tunesmith.models.load import BaseFolder, PrecisionName, load_model

__all__ = ["merge"]


def merge(base: BaseFolder, adapter: Path, out: Path, *, precision: PrecisionName = "float32") -> None:
    """Write base + adapter as one model folder to `out`. The sum is made in float32 and stored in `precision`.

    Tokenizer, template and generation settings are copied byte for byte, so that the merged model speaks the same format.
    """
    import torch

    merged = open_adapter(load_model(base, "float32").cpu(), adapter).merge_and_unload(safe_merge=True)
    merged.to(getattr(torch, precision)).save_pretrained(out, safe_serialization=True)
    for file in base.other_files():
        shutil.copyfile(file, out / file.name)
