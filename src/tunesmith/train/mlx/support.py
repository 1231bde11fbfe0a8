"""What the backend `mlx` can do: every other setting is refused before the first step, so that none is ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tunesmith.core.errors import Problem, RecipeError, TrainingError
from tunesmith.train.method import DEFAULT, Method, identity
from tunesmith.train.settings import AdapterSettings, TrainSettings, values_of
from tunesmith.train.units import Unit

__all__ = ["refuse_other_units", "refuse_unsupported"]

_ANY = frozenset[Any]()
# What may be set, and to which values; empty: all that the recipe allows. Settings that are not here keep their default.
_METHOD: Mapping[str, frozenset[Any]] = MappingProxyType(
    {
        "kind": frozenset({"lora", "rslora", "dora", "full"}),
        **dict.fromkeys(("rank", "alpha", "dropout", "targets", "layers", "continued"), _ANY),
    }
)
_OBJECTIVE = frozenset({"kind", "last_turn_only"})
_TRAIN: Mapping[str, frozenset[Any]] = MappingProxyType(
    {
        "backend": _ANY,
        "optimizer": frozenset({"adamw"}),
        "precision": frozenset({"auto", "float32", "bfloat16"}),
        **dict.fromkeys(("epochs", "max_steps", "batch_examples", "batch_tokens", "curriculum", "accumulate"), _ANY),
        **dict.fromkeys(("optimizer_settings", "learning_rate", "schedule", "warmup", "floor", "decay", "weight_decay"), _ANY),
        **dict.fromkeys(("max_grad_norm", "max_tokens", "evaluate_every", "val_examples", "patience", "best_by"), _ANY),
        **dict.fromkeys(("min_delta", "checkpoint_every", "checkpoint_minutes", "keep_checkpoints", "seed"), _ANY),
        "gradient_checkpointing": _ANY,
    }
)
_HINT = "--set train.backend=torch does it"


def refuse_unsupported(objective: Method, method: AdapterSettings, train: TrainSettings) -> None:
    """RecipeError with every setting that mlx-lm's trainer cannot follow."""
    problems = []
    named = identity(objective)
    if named.get("kind", DEFAULT) != DEFAULT:
        problems.append(_problem("objective.kind", named["kind"], DEFAULT))
    else:
        problems += [_problem(f"objective.{name}", named[name], "its default") for name in sorted(named.keys() - _OBJECTIVE)]
    problems += _beyond("method", method, AdapterSettings, _METHOD) + _beyond("train", train, TrainSettings, _TRAIN)
    if problems:
        raise RecipeError(problems)


def _beyond(section: str, settings: Any, names: type, known: Mapping[str, frozenset[Any]]) -> list[Problem]:
    values, usual = values_of(settings, names), values_of(type(settings)(), names)
    problems = []
    for name, value in values.items():
        if name not in known and value != usual[name]:
            problems.append(_problem(f"{section}.{name}", value, f"its default, {usual[name]}"))
        elif known.get(name) and value not in known[name]:
            problems.append(_problem(f"{section}.{name}", value, f"one of {', '.join(sorted(known[name]))}"))
    return problems


def _problem(name: str, value: object, expected: str) -> Problem:
    return Problem(what=f"train.backend mlx cannot follow {name}", value=value, expected=expected, hint=_HINT)


def refuse_other_units(units: Sequence[Unit]) -> None:
    """TrainingError for units that are not learned as the plain mean over their target tokens."""
    for unit in units:
        plain = unit.weight == sum(sum(row.learned[1:]) for row in unit.rows)
        if not plain or unit.signal or unit.only_scored or unit.reference:
            raise TrainingError(
                "train.backend mlx cannot learn these rows",
                value=f"a row of {unit.num_tokens} tokens that weighs {unit.weight}",
                expected="rows that are learned by the mean over their target tokens",
                hint=_HINT,
            )
