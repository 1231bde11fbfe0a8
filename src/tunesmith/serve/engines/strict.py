"""Whether arguments that a model wrote keep the schema of a strict function.

The schema is a client's: references are looked up in it alone, never fetched, and patterns are matched in linear time by the
library that enforces them, not by `re`, which a pattern such as `^(a+)+$` keeps busy for hours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing.jsonschema import EMPTY_REGISTRY

from tunesmith.models.tools.reading import Takes

__all__ = ["keeps", "names_by_pattern"]


def keeps(schema: Mapping[str, Any]) -> Takes:
    """What says whether arguments are of a schema that llguidance has read and that is not `names_by_pattern`."""
    validator = extend(Draft202012Validator, {"pattern": _pattern})(dict(schema), registry=EMPTY_REGISTRY)

    def takes(arguments: dict[str, Any]) -> bool:
        try:
            return bool(validator.is_valid(arguments))
        except RecursionError:  # references in a circle
            return False

    return takes


def names_by_pattern(schema: Any) -> bool:
    """Whether a schema has `patternProperties` anywhere."""
    parts: list[Any] = [schema]
    while parts:
        part = parts.pop()
        if isinstance(part, dict) and isinstance(part.get("patternProperties"), dict):
            return True
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return False


def _pattern(_: Any, pattern: str, text: Any, __: Any) -> Any:
    if isinstance(text, str) and not _matches(pattern, text):
        yield ValidationError(f"{text[:100]!r} does not match {pattern[:100]!r}")


def _matches(pattern: str, text: str) -> bool:
    from llguidance import LLMatcher

    grammar = LLMatcher.grammar_from_json_schema(json.dumps({"type": "string", "pattern": pattern}))
    matcher = LLMatcher(_bytes(), grammar, log_level=0)
    written = list(json.dumps(text, ensure_ascii=False).encode())
    return int(matcher.try_consume_tokens(written)) == len(written) and bool(matcher.is_accepting())


@cache
def _bytes() -> Any:
    """A tokenizer whose tokens are bytes."""
    from llguidance import LLTokenizer

    return LLTokenizer("byte")
