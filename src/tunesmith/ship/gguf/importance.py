"""The importance matrix: how large the inputs of each matrix are, column by column, over the author's own rows.

Rounding weighs the error of a column by the mean square of what is multiplied with it. The file is llama.cpp's own format
(`tools/imatrix`): a GGUF file with `NAME.in_sum2` (sums of squares) and `NAME.counts` (number of tokens) for each matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, get_tensor_name_map

from tunesmith.core.errors import ModelError
from tunesmith.models.gguf_header import read_gguf_header
from tunesmith.models.load import BaseFolder, load_model
from tunesmith.models.memory import release_memory
from tunesmith.ship.gguf.architectures import architecture
from tunesmith.ship.gguf.file import GgufFile, PlannedTensor, write_file

__all__ = ["Importance", "read_importance", "write_importance"]

Importance = Mapping[str, np.ndarray[Any, np.dtype[np.float32]]]
_SUMS, _COUNTS = ".in_sum2", ".counts"
_CHUNK = 512  # tokens: what llama.cpp's own tool takes at a time


def write_importance(
    folder: BaseFolder, rows: Sequence[Sequence[int]], out: Path, *, source: str = "training rows"
) -> GgufFile:
    """Run the model of `folder` over `rows` of token ids and write the importance matrix to `out`.

    `source` names the text in the file; rows must never be those on which the result is judged. ModelError if there are none.
    """
    kind = architecture(folder.config)
    if not any(rows):
        raise ModelError(
            "there is no text for an importance matrix",
            value=f"{len(rows)} rows",
            expected="rows of token ids",
            hint="export without an importance matrix, or build a dataset first",
        )
    release_memory()
    model = load_model(folder, "float32")
    names = get_tensor_name_map(kind.arch, model.config.get_text_config().num_hidden_layers)
    sums, tokens = _sums(model, rows)
    writer = GGUFWriter(None, "imatrix")
    writer.kv_data[0].clear()  # an importance matrix is no architecture
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", [source])
    writer.add_uint32("imatrix.chunk_count", max(1, tokens // _CHUNK))
    writer.add_uint32("imatrix.chunk_size", _CHUNK)
    planned = []
    for module, total in sorted(sums.items()):
        name = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
        if name is None or not name.startswith("blk."):
            continue
        for ending, values in ((_SUMS, total[None]), (_COUNTS, np.full((1, 1), tokens))):
            data = values.astype(np.float32)
            planned.append(PlannedTensor(name + ending, data.shape, GGMLQuantizationType.F32, partial(np.asarray, data)))
    return write_file(writer, planned, out)


def read_importance(file: Path) -> Importance:
    """Mean squares of the inputs by GGUF tensor name, as `llama-imatrix` or `write_importance` wrote them."""
    read_gguf_header(file)
    found = {tensor.name: np.asarray(tensor.data, np.float32) for tensor in GGUFReader(file).tensors}
    means = {}
    for name, sums in found.items():
        counts = found.get(name.removesuffix(_SUMS) + _COUNTS)
        if name.endswith(_SUMS) and counts is not None and counts.size == 1 and np.isfinite(sums).all() and counts[0] > 0:
            means[name.removesuffix(_SUMS)] = sums.reshape(-1) / counts.reshape(-1)[0]
    if not means:
        raise ModelError(
            "this file holds no importance matrix",
            value=str(file),
            expected="a GGUF file with sums of squares and counts for each matrix, of finite numbers",
            hint="make it again from the training rows",
        )
    return means


def _sums(model: Any, rows: Sequence[Sequence[int]]) -> tuple[dict[str, np.ndarray[Any, np.dtype[np.float64]]], int]:
    """Sums of squares of the inputs of each linear layer (columns,), by its name; and the number of tokens."""
    sums: dict[str, torch.Tensor] = {}

    def remember(name: str) -> Any:
        def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            squares = inputs[0].detach().flatten(0, -2).double().square().sum(0)
            sums[name] = sums[name] + squares if name in sums else squares

        return hook

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    handles = [module.register_forward_pre_hook(remember(name)) for name, module in layers]
    tokens = 0
    try:
        for row in rows:
            for start in range(0, len(row), _CHUNK):
                part = row[start : start + _CHUNK]
                model.get_decoder()(torch.tensor([list(part)], device=model.device))
                tokens += len(part)
    finally:
        for handle in handles:
            handle.remove()
    return {name: total.cpu().numpy() for name, total in sums.items()}, tokens
