"""A safetensors file in pieces: a checkpoint as large as the memory that is left can be written without a copy of it all.

The format is that of the safetensors library (eight bytes of length, a JSON header, the numbers one after the other), whose own
`save` needs the whole file in memory. The files are read with the library.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import torch

__all__ = ["pieces"]

_PIECE = 32 * 2**20  # bytes; smaller tensors are joined, larger ones are a piece each
_ALIGNED = 8
_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def pieces(tensors: Mapping[str, torch.Tensor]) -> Iterator[bytes]:
    """The bytes of the file, in order, of which one piece at a time is in memory. KeyError for a type that the format lacks."""
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # so that each is aligned
    header: dict[str, Any] = {}
    end = 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNED)
    held = struct.pack("<Q", len(text)) + text
    for name in names:
        data = _bytes(tensors[name])
        if len(held) + len(data) > _PIECE:
            yield held
            held = data
        else:
            held += data
    if held:
        yield held


def _bytes(tensor: torch.Tensor) -> bytes:
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
