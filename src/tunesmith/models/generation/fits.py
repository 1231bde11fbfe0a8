"""Whether a model's answers can be made in slots: found by trying, against the model's own forward pass, not by name.

What does not fit (recurrent states, attention sinks, chunked attention, layers that share keys) goes through the library's
own generation, one prompt at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from tunesmith.models.generation.attending import SlotAttention
from tunesmith.models.generation.engine import Engine, Limits
from tunesmith.models.generation.requests import Job
from tunesmith.models.generation.table import Row

__all__ = ["Fit", "fits"]

_HEAD, _TAILS, _STEPS = 9, (2, 6), 3  # tokens of the trial: a shared beginning, two own endings, tokens made
_KINDS = {"full_attention", "sliding_attention"}
_CHANGING = {"dynamic", "longrope"}  # rotations that depend on the longest row of a batch
_KNOWN: WeakKeyDictionary[Any, Fit] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Fit:
    """`reason`: why a model does not fit, empty if it does. `longest`: tokens up to which its rotations do not change."""

    reason: str
    bytes_per_token: int = 0
    longest: int | None = None


def fits(model: Any) -> Fit:
    """Try the slots on a few tokens and compare with plain forward passes; remembered for each model."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if inner not in _KNOWN:
        _KNOWN[inner] = _examine(inner)
    return _KNOWN[inner]


def _examine(model: Any) -> Fit:
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - _KINDS
    if kinds:
        return Fit(f"layers of the kind {', '.join(sorted(kinds))}")
    if not getattr(model, "_supports_attention_backend", False):
        return Fit("attention that cannot be exchanged")
    vocabulary = config.vocab_size
    numbers = [(7 * n + 3) % min(vocabulary, 101) for n in range(_HEAD + sum(_TAILS) + 2 * _STEPS)]
    prompts, scripts, at = [], [], _HEAD
    for tail in _TAILS:
        prompts.append(numbers[:_HEAD] + numbers[at : at + tail])
        scripts.append(numbers[at + tail : at + tail + _STEPS])
        at += tail + _STEPS
    try:
        made, engine = _by_slots(model, prompts, scripts)
    except _Refused as refused:
        return Fit(f"attention of its own ({str(refused).splitlines()[0][:120]})")
    for logits, prompt, script in zip(made, prompts, scripts, strict=True):
        with torch.inference_mode(), SlotAttention(model, "eager").on():  # as the architecture defines it
            ids = torch.tensor([prompt + script[:-1]], device=model.device)
            wanted = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :].float()
        allowed = 1e-3 if model.dtype == torch.float32 else 5e-2
        if not bool((logits - wanted).norm() <= allowed * wanted.norm()):
            return Fit("a memory of its own in addition to keys and values")
    if wrong := _wrong_windows(config, engine.windows):
        return Fit(wrong)
    layers = engine.layers().values()
    size = sum(x.shape[1] * x.shape[3] * x.element_size() for layer in layers for x in (layer.keys, layer.values))
    return Fit("", size, _longest(config))


class _Refused(Exception):
    """The model's own forward pass cannot work with slots."""


def _by_slots(model: Any, prompts: list[list[int]], scripts: list[list[int]]) -> tuple[list[torch.Tensor], Engine]:
    """Logits (steps, V) of each prompt when the scripted tokens are said."""
    seen: dict[int, list[torch.Tensor]] = {number: [] for number in range(len(prompts))}

    def follow(logits: torch.Tensor, rows: Sequence[Row]) -> list[int]:
        for row, logits_V in zip(rows, logits, strict=True):
            seen[row.job].append(logits_V.float())
        return [scripts[row.job][len(row.tokens)] for row in rows]

    def call(**named: Any) -> Any:
        try:
            return model(**named)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RuntimeError) as error:
            raise _Refused(f"{type(error).__name__}: {error}") from error

    jobs = [Job(tuple(prompt), _STEPS) for prompt in prompts]
    engine = Engine(
        model,
        jobs,
        ends=lambda job, tokens: False,
        limits=Limits(len(jobs), 1, 2**30),
        choose_tokens=follow,
        call=call,
    )
    for _ in engine.run():
        continue
    return [torch.stack(rows) for rows in seen.values()], engine


def _wrong_windows(config: Any, seen: dict[int, int]) -> str:
    """Every layer must have been called once, with its window if it has one: the trial is too short to show that."""
    if sorted(seen) != list(range(config.num_hidden_layers)):
        return "layers that share or lack attention"
    window = getattr(config, "sliding_window", None) or 0
    if getattr(config, "use_sliding_window", True) is False:
        window = 0
    kinds = getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"] * len(seen)
    wanted = [window if kind == "sliding_attention" else 0 for kind in kinds]
    told = [seen[layer] for layer in range(len(kinds))]
    return "" if wanted == told else "a sliding window that is not passed to its attention"


def _longest(config: Any) -> int | None:
    """Tokens up to which rotations are the same for every row of a batch, if there is such a limit."""
    rope = getattr(config, "rope_parameters", None) or {}
    parts = [rope, *(part for part in rope.values() if isinstance(part, dict))]
    if not any(part.get("rope_type") in _CHANGING for part in parts):
        return None
    original = [part["original_max_position_embeddings"] for part in parts if part.get("original_max_position_embeddings")]
    return int(min([*original, getattr(config, "original_max_position_embeddings", None) or config.max_position_embeddings]))
