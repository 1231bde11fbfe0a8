"""Settings that depend on the base: what suits a toy of six million parameters spoils a real model.

Rates and epochs for bases of `REAL_BASE` parameters and more come from a study on validation posts, which also says what was
not compared (recipes/voice). A setting that the recipe writes down is never changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tunesmith.pipeline.recipe import Quality, Recipe
from tunesmith.train.method import rate_of

__all__ = ["FULL_RATE", "REAL_BASE", "REAL_PRESETS", "for_base", "for_method"]

FULL_RATE = 0.1  # of the rate of an adapter
_NO_SCHEDULE = "no schedule: the optimiser averages instead (Defazio et al. 2024, The Road Less Scheduled)"
_FULL_WHY = "a full fine-tune takes about a tenth of LoRA's rate (Schulman et al. 2025, LoRA Without Regret)"

REAL_BASE = 100_000_000  # parameters
REAL_PRESETS: Mapping[Quality, Mapping[str, Mapping[str, Any]]] = {
    "draft": {
        "build": {"passage_words": 40},
        "mix": {"own_answers": True},  # without them a third of the general questions is lost (docs/log.md)
        "train": {"epochs": 1.0, "learning_rate": 1e-3, "val_examples": 16},
        "method": {"rank": 16, "alpha": 32.0},
        "use": {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.1},
        "eval": {"max_items": 20, "suites": ["general"]},  # fewer items are too few for the gates about answers
    },
    "good": {"mix": {"own_answers": True}, "train": {"epochs": 2.0, "learning_rate": 1e-3}},
    "best": {
        "mix": {"own_answers": True},
        "train": {"epochs": 4.0, "learning_rate": 1e-3, "patience": 8},
        "method": {"rank": 32, "alpha": 64.0},
    },
}


def for_base(recipe: Recipe, *, num_parameters: int) -> Recipe:
    """The recipe with the settings of its quality that suit a base of this size; what it writes down itself stays."""
    if num_parameters < REAL_BASE:
        return recipe
    changed: set[str] = set()
    sections: dict[str, Any] = {}
    for section, values in REAL_PRESETS[recipe.quality].items():
        fitting = {key: value for key, value in values.items() if not recipe.has_written(f"{section}.{key}")}
        if section == "train" and recipe.train.max_steps:
            fitting.pop("epochs", None)
        changed |= {f"{section}.{key}" for key in fitting}
        sections[section] = getattr(recipe, section).model_copy(update=fitting)
    return recipe.model_copy(update=sections).marked(by_base=changed)


def for_method(recipe: Recipe) -> Recipe:
    """The recipe with the settings that its kind of weights, objective and optimiser want; what it writes down itself stays."""
    why: dict[str, str] = {}
    changed: dict[str, Any] = {}
    shares = [(FULL_RATE, _FULL_WHY)] if recipe.method.kind == "full" else []
    if found := rate_of(recipe.objective.kind):
        shares.append((found.share, found.why))
    if shares and not recipe.has_written("train.learning_rate"):
        changed["learning_rate"] = float(f"{recipe.train.learning_rate * math.prod(share for share, _ in shares):.3g}")
        why["train.learning_rate"] = "; ".join(reason for _, reason in shares)
    if recipe.train.optimizer == "schedule_free" and not recipe.has_written("train.schedule"):
        changed["schedule"], why["train.schedule"] = "constant", _NO_SCHEDULE
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changed)}).marked(by_method=why) if why else recipe
