"""Answers that must be JSON of a schema, or calls of tools: at every token, only those that can still lead there are allowed
(llguidance)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tunesmith.core.errors import ModelError
from tunesmith.models.tools.form import ToolForm, Written

__all__ = ["Grammar", "GrammarTokens", "Start"]

Start = Callable[[], "Grammar"]
"""Makes a fresh grammar for each answer."""


class GrammarTokens:
    """A model's tokenizer as the library reads it; made once, which takes a second for a large vocabulary."""

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Sequence[int]) -> None:
        import llguidance.hf

        self.vocabulary = vocabulary
        self.tokens = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(ends))

    def compile(self, schema: Mapping[str, Any] | bool) -> Start:
        """What makes a fresh grammar for each answer. ModelError for a schema that cannot be enforced."""
        from llguidance import LLMatcher

        try:
            text = LLMatcher.grammar_from_json_schema(json.dumps(_wanted(schema)), overrides={"whitespace_flexible": False})
            wrong = LLMatcher.validate_grammar(text, self.tokens)
        except ValueError as error:
            wrong = str(error)
        return self._start(text, wrong)

    def calls(
        self,
        form: ToolForm,
        calls: Sequence[tuple[str, Mapping[str, Any]]],
        controls: Mapping[str, int],
        most: int,
        *,
        other: Mapping[str, Any] | bool | None = None,
    ) -> Start:
        """The same for answers of one to `most` calls, or, where there is one, of the schema `other`. `calls`: name and schema
        of the arguments; `controls`: ids of control tokens by their texts."""
        from llguidance import LLMatcher

        def written(pieces: Written) -> str:
            return _lark(pieces, controls)

        choices = (f"{json.dumps(name)} {written(form.middle)} %json {json.dumps(schema)}" for name, schema in calls)
        more = f"({written(form.between)} call){{0,{most - 1}}}" if form.between is not None and most > 1 else ""
        rules = [
            "start: calls" if other is None else f"start: calls | %json {json.dumps(_plain(other))}",
            f"calls: {written(form.begin)} call {more} {written(form.end)}",
            "call: " + " | ".join(f"call{at}" for at in range(len(calls))),
            *(f"call{at}: {choice}" for at, choice in enumerate(choices)),
            "ID: /[a-zA-Z0-9]{9}/",
        ]
        text = LLMatcher.grammar_from_lark("\n".join(rules))
        return self._start(text, LLMatcher.validate_grammar(text, self.tokens))

    def _start(self, text: str, wrong: str) -> Start:
        from llguidance import LLMatcher

        if wrong:
            raise ModelError(
                "the schema cannot be enforced",
                value=str(wrong).splitlines()[0][:300],
                expected="a JSON schema that llguidance can read",
                hint="simplify the schema",
            )
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
        """Go on by a token. ModelError if it cannot come next, or if the schema has become more than the library follows: it
        then allows the end of the answer alone, which would come as a whole one."""
        if not self._matcher.consume_token(token) or self._matcher.is_error():
            raise ModelError(
                "the answer cannot be held to its schema any further",
                value=str(self._matcher.get_error() or token).splitlines()[0][:200],
                expected="one of the next tokens that the schema allows",
                hint="simplify the schema: patterns with many choices within repetitions take the most",
            )


def _wanted(schema: Mapping[str, Any] | bool) -> Mapping[str, Any]:
    return {"type": "object"} if isinstance(schema, bool) else schema


def _plain(schema: Mapping[str, Any] | bool) -> dict[str, Any]:
    """A schema as it stands within a grammar, without spaces that it does not name."""
    return {**_wanted(schema), "x-guidance": {"whitespace_flexible": False}}


def _lark(pieces: Written, controls: Mapping[str, int]) -> str:
    """A text in Lark's notation: letters in quotes, control tokens by their ids, ids of calls as the rule ID."""
    known = "|".join(map(re.escape, sorted(controls, key=len, reverse=True)))
    made = []
    for piece in pieces:
        parts = ["ID"] if piece is None else re.split(f"({known})", piece) if known else [piece]
        made += [part if piece is None else f"<[{controls[part]}]>" if part in controls else json.dumps(part) for part in parts]
    return " ".join(part for part in made if part != '""')
