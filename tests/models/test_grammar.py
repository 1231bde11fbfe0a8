"""Answers that must be JSON of a schema, where the schema is more than the library can follow."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
import torch
from llguidance import LLMatcher, LLTokenizer

from tunesmith.core.errors import ModelError
from tunesmith.models.continuous.grammar import Grammar


def written(pattern: str, count: int) -> Iterator[bool]:
    """Write a text of random a and b in a grammar of single bytes; whether the end of the answer was allowed, by letter."""
    tokens = LLTokenizer("byte")
    text = LLMatcher.grammar_from_json_schema(json.dumps({"type": "string", "pattern": pattern}))
    grammar = Grammar(LLMatcher(tokens, text, log_level=0), tokens.vocab_size)
    letters = random.Random(1)
    for letter in ['"', *letters.choices("ab", k=count)]:
        logits_V = torch.zeros(tokens.vocab_size)
        grammar.allow(logits_V)
        ends = bool(logits_V[tokens.eos_token] == 0)
        grammar.took(int(tokens.eos_token) if ends else ord(letter))
        yield ends


def test_a_schema_that_grows_beyond_what_is_followed_is_an_error_and_not_a_short_answer() -> None:
    assert not any(written("^((a|b)*a(a|b){5}){3}$", 300))
    with pytest.raises(ModelError, match="any further") as caught:
        list(written("^((a|b)*a(a|b){400}){3}$", 1000))
    assert "too many" in str(caught.value) and "<state>" not in str(caught.value)
