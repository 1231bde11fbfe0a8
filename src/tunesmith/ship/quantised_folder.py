"""What all quantised model folders share: the tool they need, the files next to the weights, how transformers opens them."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tunesmith.core.errors import EngineError, ModelError
from tunesmith.core.files import sha256_file
from tunesmith.core.records import digest
from tunesmith.models.load import BaseFolder, safetensors_shapes
from tunesmith.models.memory import release_memory
from tunesmith.models.older_readers import for_older_readers
from tunesmith.ship.format import ExportSource, Written
from tunesmith.systems.local import LocalSystem
from tunesmith.systems.system import System

__all__ = ["complete", "needed", "open_quantised", "written"]

_BATCH = 64  # answers at once


def needed(module: str, *, what: str, install: str, error: type[ModelError | EngineError] = ModelError) -> None:
    """An error with the command to type if the Python package `module` is missing. `what` needs it: a tool that writes (a
    ModelError), or the engine that opens what was written (an EngineError)."""
    if find_spec(module) is None:
        raise error(f"{what} needs a package that is not installed", value=module, expected=module, hint=install)


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


@contextmanager
def open_quantised(source: ExportSource, path: Path, *, label: str) -> Iterator[System]:
    """The folder in transformers, by the quantisation that its own config.json names; sums are made in float32."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    try:
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, trust_remote_code=False, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ModelError(
            "transformers cannot open the quantised folder",
            value=str(path),
            expected=f"weights that it reads ({str(error).splitlines()[0][:200]})",
            hint="write it again; the reader must have the version of the tool that wrote it",
        ) from error
    model.generation_config = GenerationConfig()
    model.requires_grad_(False)
    files = sorted(path.glob("*.safetensors"))
    yield LocalSystem(
        name="tuned",
        label=label,
        fingerprint=digest(label, *(sha256_file(file) for file in files)),
        model=model.eval(),
        chat=source.chat,
        context=source.base.context,
        batch_examples=_BATCH,
    )
    release_memory()
