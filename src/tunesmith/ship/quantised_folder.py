"""What all quantised model folders share: the tool that writes them, and the files next to the weights."""

from __future__ import annotations

import json
import math
import shutil
from importlib.util import find_spec
from pathlib import Path

from tunesmith.core.errors import ModelError
from tunesmith.models.load import BaseFolder, safetensors_shapes
from tunesmith.models.older_readers import for_older_readers
from tunesmith.ship.format import ExportSource, Written

__all__ = ["complete", "needed", "written"]


def needed(module: str, *, what: str, install: str) -> None:
    """ModelError with the command to type if the Python package `module`, which writes `what`, is missing."""
    if find_spec(module) is None:
        raise ModelError(f"{what} needs a package that is not installed", value=module, expected=module, hint=install)


def complete(source: ExportSource, folder: Path) -> None:
    """Put the merged model's tokenizer, template, licence and generation settings next to new weights, and add to the new
    config.json what older readers look for."""
    for file in [*source.merged.other_files(), source.merged.path / "generation_config.json"]:
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(for_older_readers(config), indent=2) + "\n", encoding="utf-8")


def written(source: ExportSource, folder: Path, *notes: str) -> Written:
    """The report on a folder: its bytes, and bits per parameter of the merged model."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    weights = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    return Written(numbers={"bytes": size, "bits_per_weight": round(8 * weights / _parameters(source.merged), 2)}, notes=notes)


def _parameters(model: BaseFolder) -> int:
    return sum(math.prod(shape) for file in model.weights for _, shape in safetensors_shapes(file).values())
