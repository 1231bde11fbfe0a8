"""The base of a tuned model as its artifacts describe it: name, hub id, licence, and how long it was trained itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tunesmith.models.bases import BASES, EMBEDDED
from tunesmith.ship.card.licences import LICENCES, UNKNOWN, Licence
from tunesmith.ship.card.material import FACTS, Material

__all__ = ["Base", "base_of", "origin_of"]

# Tokens that the makers say they trained on (their model cards and reports), in billions.
_TRAINED_ON = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": 2_000,
    "HuggingFaceTB/SmolLM2-360M-Instruct": 4_000,
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": 11_000,
    "Qwen/Qwen2.5-0.5B-Instruct": 18_000,
    "Qwen/Qwen3-0.6B": 36_000,
    "microsoft/Phi-4-mini-instruct": 5_000,
}
_EMBEDDED_TOKENS, _EMBEDDED_LICENCE = 85_700_000, "CC-BY-SA-4.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """`hub`: its id on the hub, or empty. `trained_tokens`: what its maker says it was trained on; 0 if that is not known."""

    name: str
    hub: str
    licence: Licence
    trained_tokens: int
    named: bool


def base_of(material: Material) -> Base:
    """The base of the run."""
    name = str(material.at("run", FACTS, "settings", "base") or "")
    origin = origin_of(material)
    known = BASES.get(origin or name)
    hub = known.hub if known else _hub_id(origin or name)
    stated = known.licence if known else _EMBEDDED_LICENCE if EMBEDDED in (name, origin) else ""
    stated = stated or str(material.at("model", "facts.json", "licence") or "")
    licence = next((one for one in LICENCES if one.id == stated), UNKNOWN)
    tokens = _EMBEDDED_TOKENS if EMBEDDED in (name, origin) else _TRAINED_ON.get(hub, 0) * 10**9
    if origin:  # what the hub has is not what this adapter belongs to
        return Base(name=name, hub="", licence=licence, trained_tokens=tokens, named=False)
    return Base(name=name, hub=hub, licence=licence, trained_tokens=tokens, named=known is not None or name == EMBEDDED)


def origin_of(material: Material) -> str:
    """The base that a chain began with, if the run is a later stage of one; else empty."""
    return str(material.at("run", FACTS, "settings", "origin") or "")


def _hub_id(name: str) -> str:
    return name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) else ""
