"""llama.cpp itself, in this process: token ids, logits, end tokens and template of a GGUF file. For tests alone.

The library inside `xllamacpp` exports llama.cpp's C functions. Parameters are structures that its own functions fill; only
their first numbers, which are checked against the documented defaults, are set here.
"""

from __future__ import annotations

import ctypes as c
import importlib.util
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

POINTER = c.c_void_p
_F16 = 1
_SIZES = slice(0, 3)  # context, batch and physical batch, in tokens
_FLASH, _CACHE_TYPES = 13, slice(26, 28)


_QUIET = c.CFUNCTYPE(None, c.c_int, c.c_char_p, POINTER)(lambda level, text, data: None)


class _Parameters(c.Structure):
    """More room than the structures of llama.cpp take; passed by value, the rest is not read."""

    _fields_ = [("words", c.c_int32 * 256)]


class _Batch(c.Structure):
    _fields_ = [
        ("count", c.c_int32),
        ("token", c.POINTER(c.c_int32)),
        ("embedding", POINTER),
        ("place", c.POINTER(c.c_int32)),
        ("num_sequences", c.POINTER(c.c_int32)),
        ("sequence", c.POINTER(c.POINTER(c.c_int32))),
        ("wanted", c.POINTER(c.c_int8)),
        ("rest", POINTER * 4),
    ]


@cache
def _library() -> Any:
    found = importlib.util.find_spec("xllamacpp")
    if found is None or found.origin is None:
        pytest.skip("xllamacpp is not installed: pip install xllamacpp")
    library = c.CDLL(str(Path(found.origin).with_name("xllamacpp.abi3.so")))
    for name, result, arguments in (
        ("llama_backend_init", None, ()),
        ("llama_log_set", None, (POINTER, POINTER)),
        ("llama_model_default_params", _Parameters, ()),
        ("llama_context_default_params", _Parameters, ()),
        ("llama_model_load_from_file", POINTER, (c.c_char_p, _Parameters)),
        ("llama_init_from_model", POINTER, (POINTER, _Parameters)),
        ("llama_model_get_vocab", POINTER, (POINTER,)),
        ("llama_model_chat_template", c.c_char_p, (POINTER, c.c_char_p)),
        ("llama_model_n_ctx_train", c.c_int32, (POINTER,)),
        ("llama_vocab_n_tokens", c.c_int32, (POINTER,)),
        ("llama_vocab_is_eog", c.c_bool, (POINTER, c.c_int32)),
        ("llama_tokenize", c.c_int32, (POINTER, c.c_char_p, c.c_int32, c.POINTER(c.c_int32), c.c_int32, c.c_bool, c.c_bool)),
        ("llama_set_n_threads", None, (POINTER, c.c_int32, c.c_int32)),
        ("llama_get_memory", POINTER, (POINTER,)),
        ("llama_memory_clear", None, (POINTER, c.c_bool)),
        ("llama_batch_init", _Batch, (c.c_int32, c.c_int32, c.c_int32)),
        ("llama_decode", c.c_int32, (POINTER, _Batch)),
        ("llama_get_logits_ith", c.POINTER(c.c_float), (POINTER, c.c_int32)),
        ("llama_adapter_lora_init", POINTER, (POINTER, c.c_char_p)),
        ("llama_set_adapters_lora", c.c_int32, (POINTER, c.POINTER(POINTER), c.c_size_t, c.POINTER(c.c_float))),
        ("llama_free", None, (POINTER,)),
        ("llama_model_free", None, (POINTER,)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.llama_log_set(c.cast(_QUIET, POINTER), None)
    library.llama_backend_init()
    return library


class LlamaCpp:
    """A GGUF file opened by llama.cpp; keys and values are cached in float32, so that what differs is the file."""

    def __init__(self, file: Path, *, context: int = 256, adapter: Path | None = None) -> None:
        library = _library()
        self._model = library.llama_model_load_from_file(str(file).encode(), library.llama_model_default_params())
        assert self._model, f"llama.cpp does not open {file}"
        self._vocabulary = library.llama_model_get_vocab(self._model)
        settings = library.llama_context_default_params()
        words = settings.words
        assert list(words[_CACHE_TYPES]) == [_F16, _F16], "the structure of another version of llama.cpp"
        words[_SIZES] = [context] * 3
        words[_CACHE_TYPES] = [0, 0]  # F32
        words[_FLASH] = 0
        self._context = library.llama_init_from_model(self._model, settings)
        assert self._context, f"llama.cpp makes no context for {file}"
        library.llama_set_n_threads(self._context, 1, 1)
        self._batch = library.llama_batch_init(context, 0, 1)
        if adapter is not None:
            lora = library.llama_adapter_lora_init(self._model, str(adapter).encode())
            assert lora, f"llama.cpp does not open {adapter}"
            assert library.llama_set_adapters_lora(self._context, (POINTER * 1)(lora), 1, (c.c_float * 1)(1.0)) == 0

    def tokenize(self, text: str, *, special: bool = True, around: bool = False) -> list[int]:
        """Ids of a text; `special`: control tokens in it are tokens, `around`: begin and end tokens are added."""
        data = text.encode()
        room = (c.c_int32 * (len(data) + 8))()
        count = _library().llama_tokenize(self._vocabulary, data, len(data), room, len(room), around, special)
        assert count >= 0
        return list(room[:count])

    def logits(self, ids: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Logits after every token: (tokens, vocabulary)."""
        library, batch = _library(), self._batch
        library.llama_memory_clear(library.llama_get_memory(self._context), True)
        for place, token in enumerate(ids):
            batch.token[place], batch.place[place], batch.wanted[place] = token, place, 1
            batch.num_sequences[place], batch.sequence[place][0] = 1, 0
        batch.count = len(ids)
        assert library.llama_decode(self._context, batch) == 0
        size = library.llama_vocab_n_tokens(self._vocabulary)
        rows = [np.ctypeslib.as_array(library.llama_get_logits_ith(self._context, i), (size,)).copy() for i in range(len(ids))]
        return np.stack(rows)

    def greedy(self, ids: Sequence[int], count: int) -> list[int]:
        """The next `count` tokens, each the likeliest one, up to an end."""
        answer: list[int] = []
        while len(answer) < count:
            answer.append(int(self.logits([*ids, *answer])[-1].argmax()))
            if answer[-1] in self.ends([answer[-1]]):
                break
        return answer

    def ends(self, ids: Iterable[int]) -> set[int]:
        """Those of `ids` at which llama.cpp ends an answer."""
        return {token for token in ids if _library().llama_vocab_is_eog(self._vocabulary, token)}

    def template(self) -> str | None:
        """The chat template of the file."""
        found = _library().llama_model_chat_template(self._model, None)
        return None if found is None else str(found.decode())

    def trained_context(self) -> int:
        """The context length of the file."""
        return int(_library().llama_model_n_ctx_train(self._model))

    def close(self) -> None:
        """Give the memory back."""
        _library().llama_free(self._context)
        _library().llama_model_free(self._model)
