"""What training reads of its settings. Their defaults, limits and meanings are declared once, in the sections of the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, get_type_hints

from tunesmith.models.tuned import tuned_fingerprint
from tunesmith.train.schedule import Schedule

__all__ = ["SAVING", "AdapterSettings", "TrainSettings", "identifying", "values_of"]

SAVING = frozenset(
    {"checkpoint_every", "checkpoint_minutes", "keep_checkpoints", "optimizer_states"}
)  # change nothing that is learned


class AdapterSettings(Protocol):
    """What is adapted, and how."""

    kind: Literal["lora", "rslora", "dora", "adalora", "full"]
    rank: int
    alpha: float
    dropout: float
    targets: Literal["attention", "mlp", "all"] | list[str]
    layers: Literal["all"] | int
    quantise: Literal["none", "nf4"]
    lora_plus: float
    continued: str
    modules: list[str]
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]
    init: Literal["default", "pissa", "olora", "eva"]


class TrainSettings(Protocol):
    """How a run is made."""

    backend: Literal["torch", "mlx"]
    epochs: float
    max_steps: int
    batch_examples: int
    batch_tokens: int
    curriculum: Literal["none", "short_first"]
    tokens_at_once: Literal["auto"] | int
    accumulate: int
    optimizer: str
    optimizer_settings: dict[str, Any]
    optimizer_states: Literal["memory", "disk"]
    learning_rate: float
    schedule: Schedule
    warmup: float
    floor: float
    decay: float
    weight_decay: float
    max_grad_norm: float
    max_tokens: int
    evaluate_every: Literal["auto"] | int
    val_examples: int
    patience: int
    best_by: str
    min_delta: float
    gain_kept: float
    checkpoint_every: int
    checkpoint_minutes: float
    keep_checkpoints: int
    compile: bool | Literal["auto"]
    gradient_checkpointing: bool
    precision: Literal["auto", "float32", "bfloat16", "exact"]
    ewc: float
    seed: int


def values_of(settings: AdapterSettings | TrainSettings, names: type) -> dict[str, Any]:
    """By name, what training reads of `settings`: whatever the class `names` declares, and nothing else that they hold."""
    return {name: getattr(settings, name) for name in get_type_hints(names)}


# Those that runs have always been named by, whatever their value.
_FIRST: Mapping[type, Set[str]] = MappingProxyType(
    {
        AdapterSettings: frozenset({"kind", "rank", "alpha", "dropout", "targets", "layers"}),
        TrainSettings: frozenset(
            {
                *("epochs", "max_steps", "batch_examples", "batch_tokens", "curriculum", "tokens_at_once", "accumulate"),
                *("learning_rate", "schedule", "warmup", "weight_decay", "max_grad_norm", "max_tokens", "evaluate_every"),
                *("val_examples", "patience", "best_by", "min_delta", "compile", "gradient_checkpointing", "precision", "seed"),
            }
        ),
    }
)


def identifying(settings: AdapterSettings | TrainSettings, names: type) -> dict[str, Any]:
    """By name, the settings on which the result of training depends. A setting that came later counts where it differs from its
    default, so that adding one leaves the ids of existing runs, and what their checkpoints were made for, as they are."""
    values = {name: value for name, value in values_of(settings, names).items() if name not in SAVING}
    kind: Any = type(settings)
    usual = values_of(kind(), names)
    if values.get("continued"):  # what it holds counts, not where it lies
        values["continued"] = tuned_fingerprint(Path(values["continued"]))
    return {name: value for name, value in values.items() if name in _FIRST[names] or value != usual[name]}
