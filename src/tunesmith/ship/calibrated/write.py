"""Start llm-compressor in its own Python, with rows of the training split, and wait for the folder that it writes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from tunesmith.core.errors import ModelError
from tunesmith.core.files import storage_errors
from tunesmith.engines.served import python_of
from tunesmith.models.load import empty_model
from tunesmith.ship.calibrated import job
from tunesmith.ship.format import ExportSource, Written
from tunesmith.ship.quantised_folder import complete, written

__all__ = ["PYTHON", "Method", "group_size", "write_calibrated"]

Method = Literal["awq", "gptq"]

PYTHON = "TUNESMITH_LLMCOMPRESSOR"
_ROWS, _TOKENS = 128, 512  # of calibration: rows, and tokens of each
_GROUPS = (128, 64, 32, 16)
_INSTALL = "python -m venv ~/llm-compressor && ~/llm-compressor/bin/pip install llmcompressor==0.14.0.1"


def write_calibrated(source: ExportSource, folder: Path, method: Method) -> Written:
    """Four bits per weight of the linear layers by `method`, in the format of compressed-tensors, calibrated on up to 128
    training rows.

    llm-compressor runs in the Python that the environment variable TUNESMITH_LLMCOMPRESSOR names, since it needs an older
    transformers. Raises ModelError if it is missing, fails, or if there is no row to calibrate on.
    """
    python = python_of(PYTHON, engine="llm-compressor", install=_INSTALL, package="llmcompressor", error=ModelError)
    rows = [list(row.ids[:_TOKENS]) for row in source.rows[:_ROWS] if len(row.ids) > 1]
    if not rows:
        raise ModelError(
            f"{method} has no text to calibrate on",
            value="0 rows",
            expected="training rows",
            hint="export a run of a project, or choose a format without calibration: --to int8",
        )
    size = group_size(source)
    with TemporaryDirectory() as place:
        task = {"model": str(source.merged.path), "rows": rows, "type": "float32", "method": method, "group_size": size}
        with storage_errors("handing rows to llm-compressor", Path(place)):
            (Path(place) / "job.json").write_text(json.dumps({**task, "out": str(folder)}), encoding="utf-8")
        _run(python, Path(place), method)
    complete(source, folder)
    tokens = sum(map(len, rows))
    return written(source, folder, f"calibrated on {len(rows)} training rows, {tokens:,} tokens, groups of {size}")


def group_size(source: ExportSource) -> int:
    """The largest usual number of weights with one scale that divides every row of the linear layers.

    Tools refuse a width that their groups do not divide, such as 576 by 128.
    """
    import torch

    model = empty_model(source.merged)
    layers = {name: part for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    widths = {part.in_features for part in layers.values() if part is not model.get_output_embeddings()}
    for size in _GROUPS:
        if all(width % size == 0 for width in widths):
            return size
    raise ModelError(
        "the model's layers cannot be divided into groups of weights",
        value=sorted(widths),
        expected=f"widths that one of {', '.join(map(str, _GROUPS))} divides",
        hint="choose a format without groups: --to int8",
    )


def _run(python: str, place: Path, method: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with (place / "log.txt").open("wb") as log:
        code = subprocess.run(
            [python, "-P", job.__file__, str(place / "job.json")],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        ).returncode
    if code:
        said = [line for line in (place / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        missing = any("No module named 'llmcompressor'" in line for line in said)
        raise ModelError(
            f"llm-compressor could not write {method} weights",
            value=(said[-1] if said else f"exit code {code}")[:300],
            expected="a Python that has llm-compressor 0.14" if missing else "an architecture that it knows",
            hint=f"{_INSTALL}, then: export {PYTHON}=~/llm-compressor/bin/python"
            if missing
            else "choose another format: --to int8 or --to gguf --quant q4_k_m",
        )
