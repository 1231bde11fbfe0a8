"""Settings that depend on what moves, what is learned and by which optimiser; what the recipe writes down is never changed."""

from __future__ import annotations

import math
from typing import Any

from tunesmith.pipeline.recipe import Recipe
from tunesmith.train.method import rate_of

__all__ = ["FULL_RATE", "for_method"]

FULL_RATE = 0.1  # of the rate of an adapter
_FULL_WHY = "a full fine-tune takes about a tenth of LoRA's rate (Schulman et al. 2025, LoRA Without Regret)"
_NO_SCHEDULE = "no schedule: this optimiser averages instead (Defazio et al. 2024, arXiv:2405.15682)"


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
