"""Which base an adapter says that it was trained on, and whether that one was quantised (QLoRA)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ModelError
from tunesmith.models.foreign_adapters import origin_of
from tunesmith.models.load import quantisation_name, unquantised_name

__all__ = ["TrainedOn", "base_to_merge", "trained_on"]


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """The base that an adapter's configuration names (empty: none), and how that one is quantised, in words (empty: it is not,
    as far as its name and files on this machine say)."""

    base: str
    quantised: str


def trained_on(adapter: Path) -> TrainedOn:
    """What the files of an adapter say about its base. ModelError if its configuration cannot be read."""
    base = origin_of(adapter).base
    stated = _json(adapter / "adapter_config.json").get("quantization_config")
    config = _json(Path(base).expanduser() / "config.json") if base else {}
    for found in (stated, config.get("quantization_config")):
        if isinstance(found, dict) and found.get("quant_method") != "gguf":
            return TrainedOn(base, quantisation_name(found))
    whole = unquantised_name(base)
    return TrainedOn(base, base.removeprefix(whole).strip("-_.") if whole != base else "")


def base_to_merge(adapters: Sequence[Path], named: str) -> str:
    """The base to merge into: the one `named`, else the one that all adapters name.

    Raises ModelError if nothing names one, the adapters name several, or they name a quantised one: an update that is added to
    rounded weights would be rounded away, so the full-precision base must be named.
    """
    if named:
        return named
    found = {str(adapter): trained_on(adapter) for adapter in adapters}
    bases = {one.base for one in found.values()}
    if len(bases) > 1:
        raise _unnamed("the adapters name several bases", sorted(bases), "one base for all of them", "--base NAME")
    base = next(iter(bases))
    if not base:
        raise _unnamed("the adapter names no base", next(iter(found)), "the base that it was trained on", "--base NAME")
    if quantised := next((one.quantised for one in found.values() if one.quantised), ""):
        whole = unquantised_name(base)
        hint = f"--base {whole}" if whole != base else "--base NAME, of the model that the quantised one was made from"
        expected = "the full-precision base to merge into: rounded weights would lose the update"
        raise _unnamed("the adapter was trained on a quantised base", f"{base}: {quantised}", expected, hint)
    return base


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        read = json.loads(path.read_bytes())
    except ValueError as error:
        raise _unnamed("a configuration cannot be read", str(path), f"JSON ({error})", "copy the file again") from error
    return read if isinstance(read, dict) else {}


def _unnamed(what: str, value: object, expected: str, hint: str) -> ModelError:
    return ModelError(what, value=value, expected=expected, hint=hint)
