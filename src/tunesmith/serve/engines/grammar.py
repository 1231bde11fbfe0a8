"""Answers that must be JSON of a schema: at every token, only those that can still lead there are allowed (llguidance)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import torch

from tunesmith.serve.errors import ApiError, bad_field

__all__ = ["Grammar", "GrammarTokens"]

_PARAM = "response_format"


class GrammarTokens:
    """A model's tokenizer as the library reads it; made once, which takes a second for a large vocabulary."""

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Sequence[int]) -> None:
        import llguidance.hf

        self.vocabulary = vocabulary
        self.tokens = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(ends))

    def compile(self, schema: Mapping[str, Any] | bool) -> Callable[[], Grammar]:
        """What makes a fresh grammar for each answer. ApiError 400 for a schema that cannot be enforced."""
        from llguidance import LLMatcher

        wanted: Mapping[str, Any] = {"type": "object"} if isinstance(schema, bool) else schema
        try:
            text = LLMatcher.grammar_from_json_schema(orjson.dumps(wanted).decode(), overrides={"whitespace_flexible": False})
            wrong = LLMatcher.validate_grammar(text, self.tokens)
        except ValueError as error:
            wrong = str(error)
        if wrong:
            raise bad_field(_PARAM, f"the schema cannot be enforced: {str(wrong).splitlines()[0][:300]}")
        return lambda: Grammar(LLMatcher(self.tokens, text), self.vocabulary)


class Grammar:
    """The state of one answer."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher, self._vocabulary = matcher, vocabulary

    def allow(self, logits_V: torch.Tensor) -> None:
        """Take out, in place, every token that cannot come next."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[: logits_V.shape[0]].astype(bool)
        banned = torch.from_numpy(~allowed).to(logits_V.device)
        logits_V[: banned.shape[0]].masked_fill_(banned, float("-inf"))
        logits_V[banned.shape[0] :] = float("-inf")

    def took(self, token: int) -> None:
        """Go on by a token."""
        if not self._matcher.consume_token(token):
            raise ApiError(500, f"the grammar lost its place: {self._matcher.get_error()}", code="grammar_error")
