"""The metadata at the head of a model or dataset card: YAML that the hub takes, with a licence and the base model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tunesmith.core.errors import ModelError
from tunesmith.ship.hub.address import is_hub_id

__all__ = ["base_models", "card_metadata", "validate_card"]

_FENCED = re.compile(r"\s*---[ \t]*\r?\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
_MAX_CHARACTERS = 100_000


def validate_card(name: str, path: Path, *, data: bool) -> None:
    """ModelError for a card without metadata, licence, or (of a model) a base model that others can open.

    Whether the hub knows the licence is for the hub to say: it validates the same metadata before anything is sent.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(name, "the card cannot be read", f"a text in UTF-8 ({error.reason} at byte {error.start})") from error
    found = card_metadata(name, text)
    if not _words(found.get("license")):
        raise _wrong(name, "the card names no licence", "license: in its metadata (the licence of the base, at least)")
    bases = base_models(found)
    if not data and not bases:
        raise _wrong(name, "the card names no base model", "base_model: OWNER/NAME in its metadata")
    if local := [base for base in bases if not is_hub_id(base)]:
        raise _wrong(f"{name}: {local[0]}", "the card names a base model that others cannot open", "base_model: OWNER/NAME")


def base_models(metadata: Mapping[str, Any]) -> list[str]:
    """The base models that the metadata of a card names."""
    return _words(metadata.get("base_model"))


def card_metadata(name: str, text: str) -> Mapping[str, Any]:
    """The values at the head of a card. ModelError if there are none, or they are not YAML."""
    found = _FENCED.match(text[:_MAX_CHARACTERS])
    if found is None:
        raise _wrong(name, "the card has no metadata", "YAML between two lines of `---` at its beginning")
    try:
        values = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 2}" if mark else ""
        raise _wrong(name, "the metadata of the card cannot be read", f"valid YAML{where}") from error
    if not isinstance(values, dict):
        raise _wrong(name, "the metadata of the card cannot be read", "YAML with keys and values")
    return values


def _words(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text.strip() for text in values if isinstance(text, str) and text.strip()]


def _wrong(value: str, what: str, expected: str) -> ModelError:
    return ModelError(what, value=value, expected=expected, hint="edit the head of README.md, or write the card again")
