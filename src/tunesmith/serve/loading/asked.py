"""What is to be served, as it was asked for, and how models are opened."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from tunesmith.core.artifacts import Artifact, Store
from tunesmith.core.reporter import Reporter, SilentReporter
from tunesmith.models.generation.requests import Sampling
from tunesmith.models.load import StoredType
from tunesmith.models.use import read_use

__all__ = ["Loading", "Named", "named", "usual_sampling"]

_NAMED = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})(?:@([a-z0-9][a-z0-9._-]{0,63}))?=(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Named:
    """A reference with the name that it is served under (empty: one is made) and an alias of its version."""

    reference: str
    name: str = ""
    alias: str = ""

    @property
    def aliases(self) -> tuple[str, ...]:
        """None or one."""
        return (self.alias,) if self.alias else ()

    def or_name(self, default: str) -> Named:
        """The same, with this name if none was given."""
        return self if self.name else replace(self, name=default)


def named(text: str) -> Named:
    """`NAME=REFERENCE`, `NAME@ALIAS=REFERENCE` or a reference alone."""
    match = _NAMED.fullmatch(text)
    return Named(text) if match is None else Named(match[3], match[1], match[2] or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How models are opened. `engine`: that of model folders and adapters. `rows`: answers at once in each engine we start;
    `most_adapters` in memory; `context`: tokens at most, 0 for the model's own; `prefix_mib`: of the prefix cache, 0 for an
    eighth of the free memory; `preload`: adapters are read at the start, not when they are first asked for; `pin`: names (or
    NAME@VERSION, NAME@ALIAS) of adapters that are read then in any case and stay; `speculative`: what guesses next tokens,
    `ngram` or a model (empty: nothing does), and `speculative_tokens` how many at most; `upstream_key`: what other servers are
    shown; `stall_s`: how long one of them may be silent in the middle of an answer, 0 for no limit."""

    store: Store
    engine: Literal["transformers", "vllm"] = "transformers"
    precision: StoredType = "float32"
    rows: int = 32
    most_adapters: int = 16
    context: int = 0
    prefix_mib: int = 0
    preload: bool = True
    pin: frozenset[str] = frozenset()
    speculative: str = ""
    speculative_tokens: int = 16
    upstream_key: str = ""
    stall_s: float = 0.0
    reporter: Reporter = field(default_factory=SilentReporter)


def usual_sampling(folder: Path, run: Artifact | None = None, store: Store | None = None) -> Sampling:
    """The settings under which a model was tested: those of its run, or of the generation_config.json in its folder; without
    any, OpenAI's own default, temperature 1."""
    if run is not None and store is not None:
        uses = [a for a in store.all() if a.kind == "use" and run.id in {i["id"] for i in a.manifest["inputs"]}]
        if uses:
            return read_use(uses[-1].path / "use.json").sampling
    file = folder / "generation_config.json"
    settings: dict[str, Any] = orjson.loads(file.read_bytes()) if file.is_file() else {}
    penalty = float(settings.get("repetition_penalty") or 1.0)
    if settings.get("do_sample") is False:
        return Sampling(repetition_penalty=penalty)
    if not settings.get("do_sample"):
        return Sampling(temperature=1.0, repetition_penalty=penalty)
    return Sampling(
        temperature=float(settings.get("temperature") or 1.0),
        top_p=float(settings.get("top_p") or 1.0),
        top_k=int(settings.get("top_k") or 0),
        min_p=float(settings.get("min_p") or 0.0),
        repetition_penalty=penalty,
    )
