"""The logits of llama.cpp for every position of a row, read through its library: a worker process of `llama_cpp`.

Its server gives log-probabilities of generated tokens only, so a reference of n tokens would take n requests, and tokens
outside the top few would need a further trick each. The library that xllamacpp brings exports llama.cpp's C functions: one
forward pass gives the exact logits of all positions. The parameter structs of the C functions change between versions, so
they are passed on as the blocks of bytes that the library's own default functions return, and only the three numbers at the
head of the context's block are set; `llama_n_ctx`, `llama_n_batch` and `llama_n_ubatch` must confirm them. `llama_cpp` also
compares the first result with what the server says.

Protocol, over standard input and output: a line of JSON each, {"rows", "begins", "top", "scales"} or {"logits", "scales"};
the answer to the second is followed by its bytes.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tunesmith.core.errors import EngineError

__all__ = ["Library", "library_file", "log_softmax", "score_row", "work"]

_CHUNK = 256  # positions whose logits are in memory at once: 50 MB for a vocabulary of 49,152
_HINT = "pip install 'tunesmith[llama-cpp]' installs the version that this was made for"


class _Parameters(ctypes.Structure):
    """A parameter struct of any layout: larger than it is, so that what the library returns fits. Passed on as it came."""

    _fields_ = (("words", ctypes.c_uint32 * 256),)


class _Batch(ctypes.Structure):
    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
        ("more", ctypes.c_void_p * 4),
    )


_P, _I = ctypes.c_void_p, ctypes.c_int32
_FUNCTIONS: dict[str, tuple[Any, ...]] = {  # result, arguments
    "llama_backend_init": (None,),
    "llama_model_default_params": (_Parameters,),
    "llama_context_default_params": (_Parameters,),
    "llama_model_load_from_file": (_P, ctypes.c_char_p, _Parameters),
    "llama_init_from_model": (_P, _P, _Parameters),
    "llama_n_ctx": (ctypes.c_uint32, _P),
    "llama_n_batch": (ctypes.c_uint32, _P),
    "llama_n_ubatch": (ctypes.c_uint32, _P),
    "llama_set_n_threads": (None, _P, _I, _I),
    "llama_model_get_vocab": (_P, _P),
    "llama_vocab_n_tokens": (_I, _P),
    "llama_batch_init": (_Batch, _I, _I, _I),
    "llama_decode": (_I, _P, _Batch),
    "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), _P, _I),
    "llama_get_memory": (_P, _P),
    "llama_memory_clear": (None, _P, ctypes.c_bool),
    "llama_adapter_lora_init": (_P, _P, ctypes.c_char_p),
    "llama_set_adapters_lora": (_I, _P, ctypes.POINTER(_P), ctypes.c_size_t, ctypes.POINTER(ctypes.c_float)),
}


def library_file() -> Path | None:
    """The library inside the package xllamacpp, without importing it; None if it is not installed."""
    from importlib.util import find_spec

    found = find_spec("xllamacpp")
    if found is None or found.origin is None:
        return None
    files = sorted(Path(found.origin).parent.glob("xllamacpp*.so")) + sorted(Path(found.origin).parent.glob("xllamacpp*.pyd"))
    return files[0] if files else None


def log_softmax(logits_TV: np.ndarray) -> np.ndarray:
    """Natural logarithms of the probabilities, in float64."""
    shifted = logits_TV.astype(np.float64) - logits_TV.max(axis=-1, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def score_row(logits_TV: np.ndarray, targets_T: Sequence[int], top: int) -> dict[str, Any]:
    """ln p of each target by the logits at its place, whether none is likelier, and the `top` likeliest."""
    log_p_TV = log_softmax(logits_TV)
    at = np.arange(len(targets_T)), np.asarray(targets_T, dtype=np.int64)
    found: dict[str, Any] = {
        "log_p": log_p_TV[at].tolist(),
        "is_top": (logits_TV[at] >= logits_TV.max(axis=-1)).tolist(),
        "top": [],
    }
    if top:
        some = np.argpartition(-log_p_TV, min(top, log_p_TV.shape[-1] - 1), axis=-1)[:, :top]
        order = np.argsort(-np.take_along_axis(log_p_TV, some, -1), axis=-1, kind="stable")
        ids = np.take_along_axis(some, order, -1)
        found["top"] = [ids.tolist(), np.take_along_axis(log_p_TV, ids, -1).tolist()]
    return found


class Library:
    """One model in llama.cpp's library. Shapes: T position, V vocabulary.

    Raises:
        EngineError: the library lacks a function, refuses the file or does not understand the parameters.
    """

    def __init__(self, file: str, *, context: int, threads: int, adapters: Sequence[str] = ()) -> None:
        path = library_file()
        if path is None:
            raise EngineError("llama.cpp is not installed", value="xllamacpp", expected="an installed package", hint=_HINT)
        library = ctypes.CDLL(str(path))
        for name, (result, *arguments) in _FUNCTIONS.items():
            function = getattr(library, name, None)
            if function is None:
                raise self._error("does not export a function that is needed", name, "a function of llama.h")
            function.restype, function.argtypes = result, arguments
        self._call: Any = library
        library.llama_backend_init()
        self._model = library.llama_model_load_from_file(file.encode(), library.llama_model_default_params())
        if not self._model:
            raise self._error("cannot load the model", file, "a GGUF file of a model that it knows")
        chunk = min(_CHUNK, context)
        parameters = library.llama_context_default_params()
        parameters.words[0], parameters.words[1], parameters.words[2] = context, chunk, chunk
        self._context = library.llama_init_from_model(self._model, parameters)
        found = [getattr(library, f"llama_{name}")(self._context) for name in ("n_ctx", "n_batch", "n_ubatch")]
        if found[0] < context or found[1:] != [chunk, chunk]:
            raise self._error("has parameters of another layout", found, f"{[context, chunk, chunk]}")
        if threads:
            library.llama_set_n_threads(self._context, threads, threads)
        self.vocabulary = int(library.llama_vocab_n_tokens(library.llama_model_get_vocab(self._model)))
        self._chunk, self._limit = chunk, context
        self._batch = library.llama_batch_init(chunk, 0, 1)
        self._adapters = [self._adapter(path) for path in adapters]
        self._scales: list[float] = []

    def _error(self, what: str, value: object, expected: str) -> EngineError:
        return EngineError(f"the library of llama.cpp {what}", value=value, expected=expected, hint=_HINT)

    def _adapter(self, path: str) -> int:
        found = self._call.llama_adapter_lora_init(self._model, path.encode())
        if not found:
            raise self._error("cannot load the adapter", path, "a GGUF adapter of this model")
        return int(found)

    def adapt(self, scales: Sequence[float]) -> None:
        """Use the adapters with these scales from now on; 0 leaves one out."""
        if list(scales) == self._scales:
            return
        used = [(adapter, scale) for adapter, scale in zip(self._adapters, scales, strict=True) if scale != 0]
        pointers, numbers = (_P * len(used))(*(a for a, _ in used)), (ctypes.c_float * len(used))(*(s for _, s in used))
        if self._call.llama_set_adapters_lora(self._context, pointers, len(used), numbers) != 0:
            raise self._error("does not apply the adapters", list(scales), "one scale for each")
        self._scales = list(scales)

    def logits(self, row: Sequence[int], *, begin: int = 0) -> np.ndarray:
        """(T - begin, V) float32: of the positions from `begin` on."""
        if not 0 < len(row) <= self._limit or not all(0 <= token < self.vocabulary for token in row):
            raise self._error(
                "cannot read this row",
                f"{len(row)} ids up to {max(row, default=0)}",
                f"1 to {self._limit} ids below {self.vocabulary}",
            )
        self._call.llama_memory_clear(self._call.llama_get_memory(self._context), True)
        found_TV = np.empty((len(row) - begin, self.vocabulary), np.float32)
        batch = self._batch
        for first in range(0, len(row), self._chunk):
            part = row[first : first + self._chunk]
            batch.n_tokens = len(part)
            for at, token in enumerate(part):
                batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.seq_id[at][0] = token, first + at, 1, 0
                batch.logits[at] = first + at >= begin
            code = self._call.llama_decode(self._context, batch)
            if code != 0:
                raise self._error("failed to compute a row", code, "code 0")
            for at in range(max(0, begin - first), len(part)):
                pointer = self._call.llama_get_logits_ith(self._context, at)
                found_TV[first + at - begin] = np.ctypeslib.as_array(pointer, (self.vocabulary,))
        return found_TV


def work(library: Library, lines: BinaryIO, out: BinaryIO) -> None:
    """Answer lines until they end."""
    for line in lines:
        asked = json.loads(line)
        content = b""
        found: dict[str, Any]
        try:
            library.adapt(asked["scales"])
            if "logits" in asked:
                logits_TV = library.logits(asked["logits"])
                content, found = logits_TV.tobytes(), {"shape": logits_TV.shape}
            else:
                rows = zip(asked["rows"], asked["begins"], strict=True)
                found = {"rows": [_scored(library, row, begin, asked["top"]) for row, begin in rows]}
        except EngineError as error:
            found = {"error": error.text()}
        out.write(json.dumps(found).encode() + b"\n" + content)
        out.flush()


def _scored(library: Library, row: Sequence[int], begin: int, top: int) -> dict[str, Any]:
    """The last position predicts nothing that is in the row, so it is left out."""
    return score_row(library.logits(row[:-1], begin=begin - 1), row[begin:], top)


def _main(settings: dict[str, Any]) -> None:
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the library prints goes to the log, not into our answers
    paths = [path for path, _ in settings["adapters"]]
    started: dict[str, Any]
    try:
        library = Library(settings["file"], context=settings["context"], threads=settings["threads"], adapters=paths)
        started = {"vocabulary": library.vocabulary}
    except EngineError as error:
        started = {"error": error.text()}
    out.write(json.dumps(started).encode() + b"\n")
    out.flush()
    if "error" not in started:
        work(library, sys.stdin.buffer, out)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
