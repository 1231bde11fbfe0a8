"""The header of a GGUF file, read and validated before any library opens the file: a broken one gives a sentence.

Layout (little endian, versions 2 and 3): magic, version, number of tensors, number of settings; settings as (key, type,
value); tensors as (name, dimensions, type, offset); then, aligned, the data. Source: docs/gguf.md of the ggml project.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tunesmith.core.errors import ModelError

__all__ = ["GgufHeader", "read_gguf_header"]

_MAGIC = b"GGUF"
_MOST_SETTINGS, _MOST_TENSORS = 65_536, 1_000_000
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the header says. `settings`: all that are no arrays; `types`: tensor type → number of weights stored in it."""

    architecture: str
    settings: Mapping[str, Any]
    types: Mapping[str, int]

    @property
    def num_parameters(self) -> int:
        """Weights of all tensors."""
        return sum(self.types.values())

    @property
    def quantisation(self) -> str:
        """The tensor type that holds most of the weights, such as Q4_1."""
        return max(self.types, key=lambda name: self.types[name], default="no tensors")


def read_gguf_header(path: Path) -> GgufHeader:
    """Read and check the header of `path`. ModelError if it is gone, damaged, cut short, or of an unknown version."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _read(_Reader(file, size), size)
    except (OSError, struct.error, ValueError, KeyError, OverflowError) as error:
        raise ModelError(
            "not a GGUF file that can be read",
            value=str(path),
            expected=f"a valid header and all of its data ({error})",
            hint="copy or download the file again",
        ) from error


class _Reader:
    """Numbers and strings from a file of `size` bytes; ValueError for a length that goes beyond its end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def take(self, length: int) -> bytes:
        if length > self._size - self._file.tell():
            raise ValueError("the header ends too early")
        return self._file.read(length)

    def numbers(self, letters: str) -> tuple[Any, ...]:
        return struct.unpack("<" + letters, self.take(struct.calcsize("<" + letters)))

    def string(self) -> str:
        (length,) = self.numbers("Q")
        return self.take(length).decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:
        """A setting's value; of an array None, for its items are of no use here."""
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            inner, count = self.numbers("IQ")
            if inner == _STRING:
                for _ in range(count):
                    self.take(self.numbers("Q")[0])
            elif inner == _ARRAY:
                raise ValueError("an array of arrays")
            else:
                self.take(count * struct.calcsize("<" + _NUMBERS[inner]))
            return None
        return self.numbers(_NUMBERS[kind])[0]

    def place(self) -> int:
        return self._file.tell()


def _read(reader: _Reader, size: int) -> GgufHeader:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    if reader.take(4) != _MAGIC:
        raise ValueError("it does not begin with GGUF")
    version, num_tensors, num_settings = reader.numbers("IQQ")
    if version not in (2, 3):
        raise ValueError(f"its version is {version}; 2 and 3 are known")
    if num_tensors > _MOST_TENSORS or num_settings > _MOST_SETTINGS:
        raise ValueError("its counts of tensors and settings are impossible")
    settings = {}
    for _ in range(num_settings):
        key = reader.string()
        settings[key] = reader.value(reader.numbers("I")[0])
    types: Counter[str] = Counter()
    end = 0
    for _ in range(num_tensors):
        name = reader.string()
        (rank,) = reader.numbers("I")
        *dimensions, kind, offset = reader.numbers(f"{rank}QIQ")
        tensor_type = GGMLQuantizationType(kind)
        block, num_bytes = GGML_QUANT_SIZES[tensor_type]
        weights = math.prod(dimensions)
        if weights % block:
            raise ValueError(f"the size of {name} is not a multiple of its block")
        types[tensor_type.name] += weights
        end = max(end, offset + weights // block * num_bytes)
    alignment = settings.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError("its alignment is not a number")
    data = -(-reader.place() // alignment) * alignment
    if data + end > size:
        raise ValueError(f"{data + end:,} bytes promised, {size:,} there")
    return GgufHeader(
        str(settings.get("general.architecture", "")), {k: v for k, v in settings.items() if v is not None}, dict(types)
    )
