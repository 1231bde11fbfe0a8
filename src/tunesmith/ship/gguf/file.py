"""Writing a GGUF file whole or not at all: temporary sibling, room on the disk, header read back, renamed."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quant_shape_to_byte_shape

from tunesmith.core.disk import DISK
from tunesmith.core.errors import ModelError, StorageError
from tunesmith.core.files import new_temporary, sha256_file, storage_errors
from tunesmith.models.gguf_header import read_gguf_header

__all__ = ["GgufFile", "PlannedTensor", "check_target", "num_bytes", "write_file"]

_SETTINGS_BYTES = 32 * 2**20  # more than a vocabulary of 262,144 tokens with merges takes
_FLOATS = {GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16}


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor to be written: `shape` in the order of numpy; `data` gives its bytes when its turn comes."""

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    data: Callable[[], np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A GGUF file that was written. `types`: tensor type → number of tensors, in the order of their share of the weights.

    `fallbacks`: tensors that could not be stored in the type asked for, as their rows are not a multiple of its block.
    `differences`: sentences on what llama.cpp is known to do in another way than transformers.
    """

    path: Path
    sha256: str
    size_bytes: int
    num_parameters: int
    types: dict[str, int]
    fallbacks: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def bits_per_weight(self) -> float:
        """Bits of the whole file, with vocabulary and norms, for each weight of the model."""
        return 8 * self.size_bytes / max(1, self.num_parameters)


def check_target(out: Path) -> None:
    """StorageError unless `out` is a plain name of a GGUF file that is not there as a folder."""
    if ".." in out.parts or out.suffix != ".gguf" or out.name.startswith("."):
        raise StorageError(
            "not a name for a GGUF file",
            value=str(out),
            expected="a path without `..` that ends in .gguf",
            hint=f"choose another, such as {Path(out.name).stem.strip('.') or 'model'}.gguf",
        )
    if out.is_dir():
        raise StorageError(
            "there is a folder of this name",
            value=str(out),
            expected="a file to write to",
            hint=f"choose another, such as {out / 'model.gguf'}",
        )


def num_bytes(shape: Sequence[int], kind: GGMLQuantizationType) -> int:
    """Bytes of a tensor in a type."""
    return (
        {GGMLQuantizationType.F32: 4}.get(kind, 2) * math.prod(shape)
        if kind in _FLOATS
        else math.prod(quant_shape_to_byte_shape(shape, kind))
    )


def write_file(
    writer: GGUFWriter,
    tensors: Sequence[PlannedTensor],
    out: Path,
    *,
    fallbacks: Sequence[str] = (),
    differences: Sequence[str] = (),
) -> GgufFile:
    """Write settings and tensors to `out`. StorageError if there is no room; a file of that name is replaced in one piece."""
    check_target(out)
    sizes = [num_bytes(tensor.shape, tensor.type) for tensor in tensors]
    with storage_errors("writing a GGUF file", out):
        folder = new_temporary(out)
        try:
            _check_room(out.parent, sum(sizes) + _SETTINGS_BYTES)
            file = folder / out.name
            for tensor, size in zip(tensors, sizes, strict=True):
                writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size, raw_dtype=tensor.type)
            writer.write_header_to_file(file)
            try:
                writer.write_kv_data_to_file()
                writer.write_ti_data_to_file()
                for tensor in tensors:
                    writer.write_tensor_data(np.ascontiguousarray(tensor.data()))
            finally:
                writer.close()
            made = _made(file, tensors)
            DISK.sync(file)
            DISK.rename(file, out)
            DISK.sync(out.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    weights: Counter[str] = Counter()
    for tensor in tensors:
        weights[tensor.type.name] += math.prod(tensor.shape)
    counts = Counter(tensor.type.name for tensor in tensors)
    types = {name: counts[name] for name, _ in weights.most_common()}
    return GgufFile(out, *made, types, tuple(fallbacks), tuple(differences))


def _check_room(folder: Path, needed: int) -> None:
    if (free := shutil.disk_usage(folder).free) < needed:
        raise StorageError(
            "no room on the disk for the GGUF file",
            value=f"{free / 2**20:,.0f} MiB free in {folder}",
            expected=f"{needed / 2**20:,.0f} MiB",
            hint="free some space, or choose a place on another disk with --out",
        )


def _made(file: Path, tensors: Sequence[PlannedTensor]) -> tuple[str, int, int]:
    """Hash, bytes and number of weights of the file, whose header is read back first."""
    header = read_gguf_header(file)
    expected = sum(math.prod(tensor.shape) for tensor in tensors)
    if header.num_parameters != expected:
        raise ModelError(
            "the GGUF file that was written cannot be read back",
            value=f"{header.num_parameters:,} weights",
            expected=f"{expected:,}",
            hint="write it again; if it happens twice, check the disk",
        )
    return sha256_file(file), file.stat().st_size, expected
