"""llama.cpp's own rounding to small types, called in the library that comes with the `xllamacpp` package.

The library exports the function by which `llama-quantize` rounds rows of numbers. Nothing else of it is used here, and it opens
no file.
"""

from __future__ import annotations

import ctypes
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType
from gguf.quants import quant_shape_to_byte_shape

from tunesmith.core.errors import ModelError

__all__ = ["rounded"]

Floats = np.ndarray[Any, np.dtype[np.float32]]
_ROWS = 256  # of a matrix that one thread rounds at a time
_FLOATS = ctypes.POINTER(ctypes.c_float)
_INSTALL = "pip install 'tunesmith[llama-cpp]'"


@cache
def _library() -> Any:
    found = importlib.util.find_spec("xllamacpp")
    if found is None or found.origin is None:
        raise ModelError(
            "this quantisation is made by llama.cpp, which is not installed",
            value="xllamacpp",
            expected="the package xllamacpp; f32, f16, bf16 and q8_0 need none",
            hint=_INSTALL,
        )
    files = [file for ending in ("*.so", "*.dylib", "*.pyd") for file in sorted(Path(found.origin).parent.glob(ending))]
    try:
        library = ctypes.CDLL(str(files[0]))
        library.ggml_quantize_chunk.restype = ctypes.c_size_t
        library.ggml_validate_row_data.restype = ctypes.c_bool
        library.ggml_quantize_init.restype = None
    except (OSError, AttributeError, IndexError) as error:
        raise ModelError(
            "llama.cpp's quantisation cannot be called here",
            value=str(files[0] if files else found.origin),
            expected=f"a library that exports ggml_quantize_chunk ({error})",
            hint=f"{_INSTALL}, or export f16, bf16 or q8_0, which need no library",
        ) from error
    library.ggml_quantize_chunk.argtypes = (
        ctypes.c_int, _FLOATS, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, _FLOATS,
    )  # fmt: skip
    library.ggml_validate_row_data.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    library.ggml_quantize_init.argtypes = (ctypes.c_int,)
    return library


def rounded(
    values: Floats, kind: GGMLQuantizationType, importance: Floats | None = None
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bytes of a matrix (rows, columns) in a type; `importance` weighs the error of each column (columns,).

    ModelError if the library is missing, or if the numbers cannot be rounded.
    """
    library = _library()
    library.ggml_quantize_init(kind)
    values = np.ascontiguousarray(values, dtype=np.float32)
    out = np.zeros(quant_shape_to_byte_shape(values.shape, kind), dtype=np.uint8)
    weights = None if importance is None else np.ascontiguousarray(importance, dtype=np.float32)
    source = values.ctypes.data_as(_FLOATS)
    weighing = None if weights is None else weights.ctypes.data_as(_FLOATS)
    rows, columns = values.shape

    def round_rows(start: int) -> None:
        count = min(_ROWS, rows - start)
        library.ggml_quantize_chunk(kind, source, out.ctypes.data, start * columns, count, columns, weighing)

    with ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads())) as pool:
        list(pool.map(round_rows, range(0, rows, _ROWS)))
    if not library.ggml_validate_row_data(kind, out.ctypes.data, out.nbytes):
        raise ModelError(
            "a matrix cannot be quantised",
            value=f"{rows} x {columns} in {kind.name}",
            expected="weights and importance that are finite numbers",
            hint="train again with a lower train.learning_rate, or export bf16",
        )
    return out
