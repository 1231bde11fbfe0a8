"""What training reads of its settings. Their defaults, limits and meanings are declared once, in the sections of the recipe."""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_type_hints

__all__ = ["SAVING", "AdapterSettings", "TrainSettings", "values_of"]

SAVING = frozenset({"checkpoint_every", "checkpoint_minutes", "keep_checkpoints"})  # change nothing that is learned


class AdapterSettings(Protocol):
    """What is adapted, and how."""

    kind: Literal["lora", "rslora", "dora"]
    rank: int
    alpha: float
    dropout: float
    targets: Literal["attention", "mlp", "all"] | list[str]
    layers: Literal["all"] | int


class TrainSettings(Protocol):
    """How a run is made."""

    epochs: float
    max_steps: int
    batch_examples: int
    batch_tokens: int
    curriculum: Literal["none", "short_first"]
    tokens_at_once: Literal["auto"] | int
    accumulate: int
    learning_rate: float
    schedule: Literal["cosine", "constant"]
    warmup: float
    weight_decay: float
    max_grad_norm: float
    max_tokens: int
    evaluate_every: Literal["auto"] | int
    val_examples: int
    patience: int
    best_by: str
    min_delta: float
    checkpoint_every: int
    checkpoint_minutes: float
    keep_checkpoints: int
    compile: bool | Literal["auto"]
    gradient_checkpointing: bool
    precision: Literal["auto", "float32", "bfloat16", "exact"]
    seed: int


def values_of(settings: AdapterSettings | TrainSettings, names: type) -> dict[str, Any]:
    """By name, what training reads of `settings`: whatever the class `names` declares, and nothing else that they hold."""
    return {name: getattr(settings, name) for name in get_type_hints(names)}
